"""Boards as large as they get, made from drawn ranks: many rows, sets, blocks and seeds."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from recbench.results.bundle import Bundle
from recbench.results.request_features import Context

MakeBundle = Callable[..., Bundle]

FLOOR = ("popularity", "itemknn", "transition", "sasrec", "gru4rec", "caser")
TUNED = ("sft", "sft-continued", "dpo", "sdpo", "dmpo", "rosepo", "sprec", "soft", "ilrec")
"""In the order of their mean; all but `sft` start from its fit."""


def blocks(number: int) -> list[dict[str, Any]]:
    kinds = [("semantic-id", "tiny"), ("title", "smollm2-135m"), ("hybrid", "tiny")]
    return [{"paradigm": paradigm, "backbone": model, "prompt": "p1"} for paradigm, model in kinds[:number]]


def features(rng: np.random.Generator, users: int) -> dict[str, Any]:
    popularity = np.sort(rng.geometric(0.05, 50))
    context = Context(
        item_popularity=popularity,
        item_labels=np.zeros((50, 0), dtype=np.int32),
        target_popularity=rng.choice(popularity, users),
        history_length=rng.integers(1, 40, users),
        history_popularity=np.ones(users),
    )
    return {"context.npz": asdict(context)}


def study(
    make_bundle: MakeBundle,
    *,
    datasets: Sequence[str],
    llms: Sequence[dict[str, Any]],
    tuned: Sequence[str] = TUNED,
    floor: Sequence[str] = FLOOR,
    seeds: int = 3,
    users: int = 400,
    curve: int = 40,
) -> list[Bundle]:
    """Runs of `floor` and, in each block of `llms`, of `tuned`, on each dataset; means rise along both."""
    runs: list[Bundle] = []
    for dataset in datasets:
        rng = np.random.default_rng(zlib.crc32(dataset.encode()))
        shared, tastes = features(rng, users), rng.normal(0, 0.8, users)

        def made(name: str, level: float, seed: int | None, **options: Any) -> Bundle:
            noise = 0.0 if seed is None else rng.normal(0, 0.03)  # noqa: B023
            found = rng.random(users) < 1 / (1 + np.exp(-(level + noise + tastes)))  # noqa: B023
            places = np.where(found, np.minimum(rng.geometric(0.16, users), 20), 0)  # noqa: B023
            seconds = {"fit": float(np.exp(level * 2 + 5) * rng.uniform(0.8, 1.2)), "rank": 3.0}  # noqa: B023
            return make_bundle(
                name,
                places.tolist(),
                seed=seed,
                dataset=dataset,  # noqa: B023
                arrays=shared,  # noqa: B023
                efficiency={"seconds": seconds, "num_parameters": 1_500_000},
                **options,
            )

        for number, name in enumerate(floor):
            level = -2.2 + 0.22 * number
            for seed in [None] if number < 3 else list(range(seeds)):
                runs.append(made(name, level, seed, certified_share=None))
        for place, llm in enumerate(llms):
            fits: dict[int, str] = {}
            for number, name in enumerate(tuned):
                for seed in range(seeds):
                    loss = [2.2 - 0.1 * number + 3 / (1 + step / 4) for step in range(curve)]
                    lines = [
                        json.dumps({"step": 10 * step, "loss": value, "margin": number - 1 / (1 + step)})
                        for step, value in enumerate(loss)
                    ]
                    parent = None if name == "sft" else fits[seed]
                    level = -1.3 + 0.06 * number - 0.25 * place
                    run = made(name, level, seed, llm=llm, parent=parent, curve="\n".join(lines) + "\n")
                    if name == "sft":
                        fits[seed] = run.spec.fit.id
                    runs.append(run)
    return runs
