"""A policy's single answer to each prompt: the codes of an item, or a freely written title.

N prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbench.data import Ints, Ragged, Requests, TrainingData, arrays_of, ragged_from
from recbench.llm.decoding.beam import search_beam
from recbench.llm.decoding.generate import generate
from recbench.llm.decoding.ground import title_of
from recbench.llm.decoding.search import read_tokens
from recbench.llm.decoding.text_space import TextSpace
from recbench.llm.model.policy import Policy
from recbench.llm.training.examples import NextItem
from recbench.method import RunContext
from recbench.stages import StageCache


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """One answer to each prompt, as an item and as the tokens that were written."""

    items: Ints  # [N] the item that the answer names, or the nearest item
    responses: list[list[int]]  # [N] token ids with EOS
    num_tokens: int
    """Tokens generated for all answers."""
    num_read: int = 0
    """Tokens read for them, those of the prompts included; 0 where kept answers were found."""


def answer(
    policy: Policy, requests: Requests, data: TrainingData, run: RunContext, space: TextSpace | None
) -> Answers:
    """Greedy answers: constrained to the trie without a `space`, else titles that the space grounds."""
    prompts = policy.prompts.for_histories(requests.history)

    def progress(done: int) -> None:
        run.report.progress("generating", done, len(prompts))

    if space is None:
        searched = search_beam(
            policy.model, policy.trie, prompts, width=1, k=1, tie=policy.tie, progress=progress
        )
        items = searched.items[:, 0]
        responses = [policy.prompts.response(int(item)) for item in items]
        return Answers(items, responses, int(searched.stats["nodes"].sum()), searched.num_read)
    written = generate(
        policy.model, prompts, eos=policy.prompts.eos, max_new=policy.prompts.room, progress=progress
    )
    responses = [[*tokens, policy.prompts.eos] for tokens in written]
    items = space.nearest(texts(policy, written), requests, data.catalogue.popularity)
    num_tokens = sum(map(len, responses))
    return Answers(items, responses, num_tokens, num_tokens + read_tokens(prompts))


def texts(policy: Policy, written: Sequence[Sequence[int]]) -> list[str]:
    """The titles in written responses."""
    return [title_of(policy.tokenizer, tokens) for tokens in written]


def training_answers(
    policy: Policy,
    examples: NextItem,
    data: TrainingData,
    run: RunContext,
    space: TextSpace | None,
    *,
    weights: str,
    stages: StageCache | None = None,
) -> Answers:
    """Answers to the prompts of `examples`.

    Cached in `stages` (default: `run.stages`) under `weights`, the name of the policy's weights.
    """

    def build(folder: Path) -> dict[str, int]:
        answers = answer(policy, examples.requests(np.arange(len(examples))), data, run, space)
        responses = arrays_of(Ragged.of(answers.responses), "responses")
        arrays: dict[str, Any] = {"items": answers.items, "num_tokens": answers.num_tokens, **responses}
        np.savez(folder / "answers.npz", **arrays)
        return {"generated_tokens": answers.num_tokens, "forward_tokens": answers.num_read}

    spec = {
        "weights": weights,
        "examples": examples.digest,
        "identifiers": policy.prompts.digest,
        "space": None if space is None else space.encoder.digest,
    }
    folder = (stages or run.stages).get("answers", spec, build)
    with np.load(folder / "answers.npz", allow_pickle=False) as arrays:
        responses = [row.tolist() for row in ragged_from(arrays, "responses")]
        return Answers(arrays["items"], responses, int(arrays["num_tokens"]))
