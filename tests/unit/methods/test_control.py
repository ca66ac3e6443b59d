"""The control takes the optimiser steps of the method that it follows, on the same rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recbench.base import params
from recbench.base.progress import Silent
from recbench.llm.method import LLMMethod
from recbench.method import LLMRun, ParentFit
from recbench.planning.recipes import as_control, num_steps
from recbench.settings import TrainSettings
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.sdpo import SDPO
from recbench_methods.sft import SFT
from recbench_methods.sft_continued import SFTContinued
from recbench_methods.sprec import SPRec

DATA = toy_data(num_users=40, num_items=12, longest=8)


class Counts(Silent):
    def __init__(self) -> None:
        self.steps = 0

    def count(self, **values: int) -> None:
        self.steps += values.get("steps", 0)


def steps(method: LLMMethod, run: LLMRun) -> int:
    counts = Counts()
    method.fit(DATA, run=replace(run, report=counts))
    return counts.steps


@pytest.fixture
def parent(tmp_path: Path, save_backbone: Any) -> ParentFit:
    llm = tiny_settings(
        backbone=save_backbone(), lora_rank=0, pack="none", batch=8, checkpoints=1, epochs=0.2
    )
    run = toy_run(tmp_path / "parent", llm=llm)
    SFT().fit(DATA, run=run)
    return ParentFit(id="parent", workdir=run.workdir, trained_tokens=1, llm=llm)


# 15 rows in batches of 8 are 2 steps, also where a few pairs are dropped: 2 rounds of 2 stages make 8
@pytest.mark.parametrize(
    ("leader", "expected"),
    [pytest.param(SPRec(iterations=2), 8, marks=pytest.mark.slow), (SDPO(num_negatives=2), 2)],
)
def test_the_control_takes_as_many_steps_as_its_leader(
    leader: Any, expected: int, parent: ParentFit, tmp_path: Path
) -> None:
    train = replace(parent.llm.train, epochs=1.0, max_rows=15)
    stages = getattr(leader, "stages", 1)
    copied = params.build(TrainSettings, as_control(params.resolved(train), stages), what="train")
    taken = {}
    for name, method, settings in (("leader", leader, train), ("control", SFTContinued(), copied)):
        run = toy_run(tmp_path / name, llm=replace(parent.llm, train=settings))
        taken[name] = steps(method, replace(run, parent=parent))
    assert taken == {"leader": expected, "control": expected}
    assert num_steps(train, stages) == expected
