"""Lists of the best items after each training prompt, and choices from them.

E examples, D items of a list, K chosen items, I items.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ints, Ragged, TrainingData
from recbench.llm.decoding.search import SearchPlan, search_exact
from recbench.llm.items.trie import Trie
from recbench.llm.model.policy import Policy
from recbench.llm.signals.negatives import generator
from recbench.llm.training.examples import NextItem
from recbench.method import RunContext
from recbench.ranking import rank_in_chunks
from recbench.sequential.params import SASREC_VERSION, SASRecParams
from recbench.sequential.sasrec import cf_model, scores
from recbench.stages import StageCache

DEPTH = 20
"""Items of a list, so that all samplers that take fewer share one search."""


class Lists(NamedTuple):
    """The best items after each prompt, best first, one for each identifier."""

    items: Ints  # [E, D], -1 after the last
    scores: NDArray[np.float64]  # [E, D] NaN where items is -1


def exact_lists(
    policy: Policy,
    examples: NextItem,
    run: RunContext,
    *,
    depth: int,
    weights: str,
    stages: StageCache | None = None,
    wrong: bool = True,
) -> Lists:
    """The policy's best items by certified search, scores over the whole vocabulary.

    `wrong` leaves out the history and the items with the target's identifier; what is left out is not
    searched. Cached in `stages` (default: `run.stages`) under `weights`, the name of the policy's weights.
    """
    spec: dict[str, Any] = {
        "weights": weights,
        "depth": depth,
        "wrong": wrong,
        "examples": examples.digest,
        "identifiers": policy.prompts.digest,
    }

    def build(folder: Path) -> dict[str, int]:
        prompts = policy.prompts.for_histories(examples.history)
        searched = search_exact(
            policy.model,
            policy.trie,
            prompts,
            k=depth,
            tie=policy.tie,
            plan=SearchPlan(),
            excluded=taken_items(policy.trie, examples) if wrong else None,
            progress=lambda done: run.report.progress("searching", done, len(prompts)),
        )
        found = one_an_identifier(policy.trie, Lists(searched.items, searched.scores))
        np.savez(folder / "lists.npz", items=found.items, scores=found.scores)
        run.report.log(lists_certified_share=float(searched.certified.mean()))
        return {
            "generated_tokens": int(searched.stats["nodes"].sum()),
            "forward_tokens": searched.num_read,
        }

    folder = (stages or run.stages).get("lists", spec, build)
    with np.load(folder / "lists.npz", allow_pickle=False) as arrays:
        return Lists(arrays["items"], arrays["scores"])


def sasrec_lists(trie: Trie, examples: NextItem, data: TrainingData, run: RunContext, *, depth: int) -> Lists:
    """The best wrong items of the shared SASRec, with its scores; a stage."""
    spec: dict[str, Any] = {
        "sasrec": {"version": SASREC_VERSION, **asdict(SASRecParams())},
        "split": data.digests["split"],
        "seed": run.seed,
        "depth": depth,
        "examples": examples.digest,
    }

    def build(folder: Path) -> None:
        model = cf_model(data, run, SASRecParams())
        prompts = examples.requests(np.arange(len(examples)))
        ranking = rank_in_chunks(
            lambda part: scores(model, part.history),
            replace(prompts, excluded=taken_items(trie, examples)),
            data.catalogue.popularity,
            k=depth,
        )
        assert ranking.scores is not None
        found = one_an_identifier(trie, Lists(ranking.items, ranking.scores))
        np.savez(folder / "lists.npz", items=found.items, scores=found.scores)

    folder = run.stages.get("sasrec-lists", spec, build)
    with np.load(folder / "lists.npz", allow_pickle=False) as arrays:
        return Lists(arrays["items"], arrays["scores"])


def taken_items(trie: Trie, examples: NextItem) -> Ragged:
    """The items that may not be rejected: each example's history, and all with its target's identifier."""
    mates = [trie.items(int(leaf)) for leaf in trie.leaf[examples.target]]
    return Ragged.of(
        [np.concatenate([history, items]) for history, items in zip(examples.history, mates, strict=True)]
    )


def one_an_identifier(trie: Trie, lists: Lists) -> Lists:
    """The first of the items that share an identifier; the others leave no gap."""
    leaf = np.where(lists.items >= 0, trie.leaf[lists.items.clip(0)], -1)
    earlier = np.tri(leaf.shape[1], k=-1, dtype=bool)
    repeated = ((leaf[:, :, None] == leaf[:, None, :]) & earlier).any(2)
    kept = (lists.items >= 0) & ~repeated
    order = np.argsort(~kept, axis=1, kind="stable")
    kept = np.take_along_axis(kept, order, 1)
    return Lists(
        np.where(kept, np.take_along_axis(lists.items, order, 1), -1),
        np.where(kept, np.take_along_axis(lists.scores, order, 1), np.nan),
    )


def chosen_from(lists: Lists, count: int, *, key: int, temperature: float) -> Ints:
    """[E, K] items of each list without replacement, by the law of successive draws proportional to
    exp(score / temperature): the largest of score / temperature + Gumbel noise. At 0 the first ones.
    """
    items, score = lists
    chosen = np.full((len(items), count), -1, dtype=np.int64)
    width = min(count, items.shape[1])
    if temperature == 0:
        chosen[:, :width] = items[:, :width]
        return chosen
    noise = np.stack([generator(key, example).gumbel(size=items.shape[1]) for example in range(len(items))])
    keys = np.where(items >= 0, score / temperature + noise, -np.inf)
    order = np.argsort(-keys, axis=1, kind="stable")[:, :width]
    chosen[:, :width] = np.take_along_axis(items, order, 1)
    return chosen
