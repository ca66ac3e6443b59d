"""A fit of `sft` on toy data, and runs that start from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from recbench.base.progress import Silent
from recbench.llm.method import LLMMethod
from recbench.llm.model import policy as policies
from recbench.method import LLMRun, ParentFit
from recbench.ranking import Ranking
from recbench.settings import Paradigm
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.sft import SFT

DATA = toy_data(num_users=8, num_items=12, longest=8)
Parents = Callable[[Paradigm], ParentFit]


class Curve(Silent):
    """A reporter that keeps the curve and the counts, and stops the fit at a step of a stage."""

    def __init__(self, stop: tuple[str, int] | None = None) -> None:
        self.records: list[dict[str, Any]] = []
        self.counts: dict[str, int] = {}
        self.stop = stop

    def progress(self, stage: str, done: int, total: int) -> None:
        del total
        if (stage, done) == self.stop:
            raise KeyboardInterrupt

    def log(self, **values: Any) -> None:
        self.records.append(values)

    def count(self, **values: int) -> None:
        for name, value in values.items():
            self.counts[name] = self.counts.get(name, 0) + value

    def series(self, name: str) -> list[float]:
        return [record[name] for record in self.records if name in record]


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory) -> Parents:
    """The fit of `sft` in a paradigm, trained once; its stages lie beside it."""
    root = tmp_path_factory.mktemp("parents")
    made: dict[Paradigm, ParentFit] = {}

    def parent(paradigm: Paradigm) -> ParentFit:
        if paradigm not in made:
            folder, curve = root / paradigm, Curve()
            run = toy_run(folder, llm=tiny_settings(paradigm=paradigm, epochs=6.0, batch=8))
            SFT().fit(DATA, run=replace(run, report=curve))
            made[paradigm] = ParentFit(
                id=paradigm,
                workdir=folder,
                trained_tokens=curve.counts["trained_tokens"],
                llm=run.llm,
            )
        return made[paradigm]

    return parent


def context(
    folder: Path, parent: ParentFit, *, seed: int = 0, curve: Curve | None = None, **settings: Any
) -> LLMRun:
    """A run that starts from the parent and shares no stage with it."""
    llm = tiny_settings(**{"paradigm": parent.id, "epochs": 1.0, "batch": 8, "lr": 1e-3, **settings})
    return replace(toy_run(folder, seed=seed, llm=llm), parent=parent, report=curve or Curve())


def beside(parent: ParentFit, run: LLMRun) -> LLMRun:
    """The same run where it finds the stages that other fits from this parent have made."""
    return replace(run, stages=toy_run(parent.workdir).stages)


def fit_and_rank(method: LLMMethod, run: LLMRun) -> Ranking:
    """Fit, then rank with a second instance that has only the folder."""
    method.fit(DATA, run=run)
    fresh: LLMMethod = replace(method)  # type: ignore[type-var]  # every method is a dataclass
    fresh.load(DATA, run=run)
    return fresh.rank(DATA.valid.requests, k=5)


def weights(run: LLMRun) -> Mapping[str, torch.Tensor]:
    state: Mapping[str, torch.Tensor] = policies.restore(DATA, run).model.state_dict()
    return state
