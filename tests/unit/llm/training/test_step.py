"""The gradient of an optimiser step does not depend on how its rows fall into passes and processes.

Run as a script under torchrun, this file takes the steps of its cases and leaves the weights.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from recbench.llm.model import policy as policies
from recbench.llm.signals.distillation import Distillation
from recbench.llm.signals.pair_rows import PreferencePairs
from recbench.llm.signals.preference import PairObjective
from recbench.llm.training.likelihood import TokenCrossEntropy
from recbench.llm.training.pack import Row, prefix_tree
from recbench.llm.training.trainer import train
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.ilrec import ILRec, ILRecObjective
from recbench_methods.sdpo import SDPO

Tensors = dict[str, torch.Tensor]


@dataclass
class Case:
    rows: list[Row]
    objective: Any


def single_rows() -> list[Row]:
    """Rows of one example each, with prompts and responses of different lengths."""
    return [
        prefix_tree([([1, *range(5, 6 + index), *range(20, 22 + index % 4), 2], 2 + index)])
        for index in range(8)
    ]


def pair_rows() -> list[Row]:
    """Rows of one to three examples, each with one to three rejected responses of different lengths."""
    rows, number = [], 0
    for index in range(8):
        sequences: list[tuple[list[int], int]] = []
        facts: dict[str, list[int]] = {"example": [], "slot": []}
        for _ in range(1 + index % 3):
            prompt = [1, *range(5, 6 + number % 7)]
            slots = [*range(1, 2 + number % 3), 0]
            sequences += [
                ([*prompt, *range(20 + 3 * slot, 22 + 4 * slot + number % 2), 2], len(prompt))
                for slot in slots
            ]
            facts["example"] += [number] * len(slots)
            facts["slot"] += slots
            number += 1
        rows.append(prefix_tree(sequences, {name: np.array(values) for name, values in facts.items()}))
    return rows


def case(name: str) -> Case:
    if name == "tokens":
        return Case(single_rows(), TokenCrossEntropy())
    if name == "ilrec":
        return Case(single_rows(), ILRecObjective(ILRec(mu=0.0), None))
    rows = pair_rows()
    if name == "distillation":
        objective = Distillation()
        objective.tau = 0.3
        return Case(rows, objective)
    examples = 1 + max(int(row.facts["example"].max()) for row in rows)
    draw = np.random.default_rng(0)
    pairs = PreferencePairs(rows, draw.integers(30, size=(examples, 3)), dropped=0.0)
    return Case(
        rows,
        PairObjective(
            SDPO(beta=1.0).loss,
            pairs,
            draw.normal(-20, 2, size=(examples, 4)),
            popularity=draw.random(30),
            sft_weight=0.5 if name == "pairs and tokens" else 0.0,
        ),
    )


class KeepGradients(TrainerCallback):  # type: ignore[misc]  # mypy skips transformers
    """Copies the accumulated gradients right before the optimiser step."""

    def __init__(self) -> None:
        self.gradients: Tensors = {}

    def on_pre_optimizer_step(
        self, args: Any, state: Any, control: Any, *, model: Any, **kwargs: Any
    ) -> None:
        del args, state, control, kwargs
        named = model.named_parameters()
        self.gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}


PLACE = {"RANK": "0", "WORLD_SIZE": "1"}
"""What torchrun sets, and what holds without it."""


def gradients(folder: Path, name: str, *, micro_batch: int = 0) -> Tensors:
    """Gradients of a step over the case's eight rows."""
    given = case(name)
    llm = tiny_settings(max_grad_norm=1e9, epochs=1.0, batch=8, micro_batch=micro_batch)
    rank, world_size = (int(os.environ.get(name, default)) for name, default in PLACE.items())
    run = replace(toy_run(folder, llm=llm), rank=rank, world_size=world_size)
    policy = policies.start(toy_data(), run)
    kept = KeepGradients()
    train(policy, given.rows, given.objective, settings=llm.train, run=run, callbacks=[kept])
    return kept.gradients


def assert_equal(one: Tensors, other: Tensors) -> None:
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        assert torch.allclose(gradient, other[name], atol=1e-6, rtol=1e-4), name


@pytest.mark.parametrize("name", ["tokens", "ilrec", "pairs", "pairs and tokens", "distillation"])
def test_gradients_of_eight_rows_equal_four_accumulations_of_two(tmp_path: Path, name: str) -> None:
    whole = gradients(tmp_path / "whole", name)
    assert max(float(gradient.abs().max()) for gradient in whole.values()) > 1e-3
    assert_equal(whole, gradients(tmp_path / "split", name, micro_batch=2))


PARALLEL = ("tokens", "pairs")


@pytest.mark.slow
def test_gradients_of_eight_rows_equal_those_of_two_processes_with_four_each(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, __file__, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in PARALLEL:
        whole = gradients(tmp_path / "whole" / name, name)
        for rank in ("0", "1"):
            assert_equal(whole, torch.load(tmp_path / f"{name}-{rank}.pt", weights_only=True))


def main() -> None:
    rank, folder = os.environ["RANK"], Path(sys.argv[1])
    for name in PARALLEL:
        torch.save(gradients(folder / name / rank, name), folder / f"{name}-{rank}.pt")


if __name__ == "__main__":
    main()
