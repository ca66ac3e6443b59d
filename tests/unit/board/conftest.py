"""Finished runs for boards, and boards as `board.json` holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from recbench.board import build
from recbench.results.bundle import Bundle

MakeBundle = Callable[..., Bundle]

TRAIN = {
    "epochs": 4.0,
    "pack": "user-blocks",
    "block_items": 21,
    "block_overlap": 1,
    "lora_rank": 0,
    "lora_alpha": 16,
    "precision": "fp32",
}
TINY: dict[str, Any] = {
    "paradigm": "semantic-id",
    "backbone": "tiny",
    "prompt": "p1",
    "identifiers": {"codes": 64},
    "train": TRAIN,
}


def ranks(seed: int, hit_rate: float, num_users: int = 200) -> list[int]:
    rng = np.random.default_rng(seed)
    found: list[int] = np.where(rng.random(num_users) < hit_rate, rng.integers(1, 21, num_users), 0).tolist()
    return found


@pytest.fixture
def study(make_bundle: MakeBundle) -> list[Bundle]:
    """Two LLM methods and a sequential one over five seeds, and a popularity floor."""
    runs = [make_bundle("popularity", ranks(1, 0.1), seed=None, certified_share=None)]
    for seed in range(5):
        runs.append(make_bundle("sasrec", ranks(10 + seed, 0.5), seed=seed, certified_share=None))
        runs.append(make_bundle("sft", ranks(20 + seed, 0.5), seed=seed, llm=TINY))
        runs.append(make_bundle("ilrec", ranks(30 + seed, 0.95), seed=seed, llm=TINY, certified_share=0.98))
    return runs


def built(runs: Iterable[Bundle], **options: Any) -> dict[str, Any]:
    """The board as `board.json` holds it."""
    return build.build(runs, **options).to_json()


def rows_of(board: dict[str, Any], table: int = 0) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in board["tables"][table]["rows"]}


def standing(board: dict[str, Any], key: str, metric: str = "ndcg@10") -> dict[str, Any]:
    """What the view of all users says of each row."""
    [table] = board["tables"]
    values = table["views"]["all"][metric][key]
    return {row["name"]: value for row, value in zip(table["rows"], values, strict=True)}
