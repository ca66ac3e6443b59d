"""In the regime of equal tokens every method of a block trains on the same total, its parent's included."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recbench.base.progress import Silent
from recbench.errors import UsageError
from recbench.llm.method import LLMMethod
from recbench.llm.model import policy as policies
from recbench.llm.training.budget import token_budget
from recbench.llm.training.examples import next_item
from recbench.llm.training.pack import num_tokens
from recbench.llm.training.tasks import training_rows
from recbench.method import LLMRun, ParentFit
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.ilrec import ILRec
from recbench_methods.sdpo import SDPO
from recbench_methods.sft import SFT
from recbench_methods.sft_continued import SFTContinued

DATA = toy_data(num_users=40, num_items=12, longest=8)


class Counts(Silent):
    def __init__(self) -> None:
        self.trained_tokens = 0

    def count(self, **values: int) -> None:
        self.trained_tokens += values.get("trained_tokens", 0)


def trained_tokens(method: LLMMethod, run: LLMRun) -> int:
    counts = Counts()
    method.fit(DATA, run=replace(run, report=counts))
    return counts.trained_tokens + (run.parent.trained_tokens if run.parent is not None else 0)


@pytest.mark.parametrize("tasks", ["next-item", pytest.param("lc-rec", marks=pytest.mark.slow)])
def test_totals_of_all_methods_agree_within_one_per_cent(
    tmp_path: Path, save_backbone: Any, tasks: str
) -> None:
    backbone = save_backbone()

    def run_of(name: str, **settings: Any) -> LLMRun:
        amounts: dict[str, Any] = {"lora_rank": 0, "pack": "none", "batch": 2, "checkpoints": 1}
        llm = tiny_settings(backbone=backbone, tasks=tasks, **amounts, **settings)
        return toy_run(tmp_path / name, llm=llm)

    parent_run = run_of("parent", epochs=0.5)
    tokens = trained_tokens(SFT(), parent_run)
    parent = ParentFit(id="parent", workdir=parent_run.workdir, trained_tokens=tokens, llm=parent_run.llm)
    run = run_of("sft", budget_epochs=1.5)
    wanted = 1.5 * num_tokens(training_rows(policies.start(DATA, run), DATA, run).rows)
    totals = {"sft": trained_tokens(SFT(), run)}
    totals["ilrec"] = trained_tokens(ILRec(mu=0.0), run_of("ilrec", budget_epochs=1.5))
    for name, method in (("sft-continued", SFTContinued()), ("sdpo", SDPO(num_negatives=2))):
        run = run_of(name, budget_epochs=1.5)
        totals[name] = trained_tokens(method, replace(run, parent=parent))
    assert totals == pytest.approx(dict.fromkeys(totals, wanted), rel=0.01)


def test_a_budget_that_the_parent_has_used_up_is_refused(tmp_path: Path) -> None:
    run = toy_run(tmp_path / "fit", llm=tiny_settings(budget_epochs=1.0))
    policy = policies.start(DATA, run)
    everything = num_tokens(next_item(policy.prompts, DATA, run).rows)
    assert token_budget(policy, DATA, run) == everything
    for left in (1, 0):
        parent = ParentFit(id="parent", workdir=tmp_path, trained_tokens=everything - left, llm=run.llm)
        used = replace(run, parent=parent)
        if left:
            assert token_budget(policy, DATA, used) == 1
        else:
            with pytest.raises(UsageError, match="leaves nothing after the parent's training"):
                token_budget(policy, DATA, used)


def test_a_limit_of_rows_does_not_shrink_the_budget(tmp_path: Path) -> None:
    run = toy_run(tmp_path / "fit", llm=tiny_settings(budget_epochs=2.0))
    policy = policies.start(DATA, run)
    few = replace(run, llm=replace(run.llm, train=replace(run.llm.train, max_rows=3)))
    assert token_budget(policy, DATA, few) == token_budget(policy, DATA, run)


def test_without_a_budget_the_epochs_decide(tmp_path: Path) -> None:
    run = toy_run(tmp_path / "fit", llm=tiny_settings())
    assert token_budget(policies.start(DATA, run), DATA, run) is None
