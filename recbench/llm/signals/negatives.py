"""Samplers of rejected items. Each returns items [E, K], with -1 where it finds too few.

E examples, K negatives of an example, I items. Draws depend on the run's seed and the example alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.data import Ints, TrainingData
from recbench.errors import DataError
from recbench.llm.decoding.beam import search_beam
from recbench.llm.model.policy import Policy
from recbench.llm.training.examples import NextItem
from recbench.method import RunContext
from recbench.stages import StageCache

POPULARITY_POWER = 0.75
NEIGHBOURS = 20


def uniform(examples: NextItem, data: TrainingData, count: int, run: RunContext) -> Ints:
    """`count` distinct items, none of them the target or in the history."""
    return _drawn(examples, np.ones(data.num_items), count, run)


def popular(examples: NextItem, data: TrainingData, count: int, run: RunContext) -> Ints:
    """As `uniform`, with probability proportional to the training count to the power 0.75."""
    return _drawn(examples, data.catalogue.popularity**POPULARITY_POWER, count, run)


def _drawn(examples: NextItem, weight: NDArray[Any], count: int, run: RunContext) -> Ints:
    if not weight.sum() > 0:
        raise DataError("no item can be drawn as a negative", why="none has a training interaction")
    share = np.cumsum(weight / weight.sum())
    drawn = np.full((len(examples), count), -1, dtype=np.int64)
    num_open = int((weight > 0).sum())
    key = run.child_seed("negatives")
    for example, history in enumerate(examples.history):
        rng = _generator(key, example)
        taken = {*history.tolist(), int(examples.target[example])}
        wanted = min(count, num_open - sum(weight[item] > 0 for item in taken))
        items: list[int] = []
        while len(items) < wanted:
            for item in np.searchsorted(share, rng.random(2 * count), side="right").tolist():
                if item not in taken and len(items) < wanted:
                    taken.add(item)
                    items.append(item)
        drawn[example, : len(items)] = items
    return drawn


def similar(examples: NextItem, vectors: NDArray[np.float32], run: RunContext) -> Ints:
    """[E, 1] one of the 20 items nearest to the last item of the history, by text vectors [I, D]."""
    drawn = np.full((len(examples), 1), -1, dtype=np.int64)
    nearest: dict[int, Ints] = {}
    key = run.child_seed("negatives")
    for example, history in enumerate(examples.history):
        last = int(history[-1])
        if last not in nearest:
            distance = ((vectors - vectors[last]) ** 2).sum(1)
            nearest[last] = np.argsort(distance, kind="stable")[: NEIGHBOURS + 1]
        taken = np.append(history, examples.target[example])
        choices = nearest[last][~np.isin(nearest[last], taken)]
        if len(choices):
            drawn[example, 0] = _generator(key, example).choice(choices)
    return drawn


def _generator(key: int, example: int) -> np.random.Generator:
    """The generator of one example, the same however many are drawn before it."""
    return np.random.Generator(np.random.Philox(key=[key, example]))


def self_hard(beams: Ints, examples: NextItem) -> Ints:
    """[E, 1] the best of each example's `beams` [E, W] that is neither the target nor in the history."""
    chosen = np.full((len(examples), 1), -1, dtype=np.int64)
    for example, history in enumerate(examples.history):
        taken = np.append(history, examples.target[example])
        choices = beams[example][(beams[example] >= 0) & ~np.isin(beams[example], taken)]
        chosen[example, 0] = choices[0] if len(choices) else -1
    return chosen


def beam_items(
    policy: Policy,
    examples: NextItem,
    run: RunContext,
    *,
    width: int,
    weights: str,
    stages: StageCache | None = None,
) -> Ints:
    """[E, width] the policy's own answers to its training prompts, best first; width 1 is greedy.

    Cached in `stages` (default: `run.stages`) under `weights`, the name of the policy's weights.
    """
    spec: Mapping[str, Any] = {
        "weights": weights,
        "width": width,
        "examples": examples.digest,
        "identifiers": policy.prompts.digest,
    }

    def build(folder: Path) -> dict[str, int]:
        prompts = policy.prompts.for_histories(examples.history)
        searched = search_beam(
            policy.model,
            policy.trie,
            prompts,
            width=width,
            k=width,
            tie=policy.tie,
            progress=lambda done: run.report.progress("generating", done, len(prompts)),
        )
        np.save(folder / "items.npy", searched.items)
        return {"generated_tokens": int(searched.stats["nodes"].sum())}

    folder = (stages or run.stages).get("beams", spec, build)
    stored: Ints = np.load(folder / "items.npy", allow_pickle=False)
    return stored
