"""The page about plugins: its examples are methods, and its table is the checks."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recbench.conformance.checks import CHECKS, check_each
from recbench.conformance.toy_set import toy_place
from recbench.conformance.trials import Trials
from tests.plugin_examples import PAGE, install, sources, write_package

LINES = {"my_simpo": 40, "my_msl": 60, "my_rere": 50, "my_transition": 50}


def test_the_page_has_the_checks_and_their_claims() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = [(name, claim) for name, claim in rows if name in CHECKS]
    assert listed == [(name, check.claim) for name, check in CHECKS.items()]


def test_the_examples_are_as_short_as_they_say() -> None:
    lines = {module: len(source.splitlines()) for module, source in sources().items()}
    assert lines.keys() == LINES.keys()
    assert {module: count for module, count in lines.items() if count > LINES[module]} == {}


@pytest.mark.parametrize(
    "module",
    [
        "my_transition",
        pytest.param("my_simpo", marks=pytest.mark.slow),
        pytest.param("my_msl", marks=pytest.mark.slow),
        pytest.param("my_rere", marks=pytest.mark.slow),
    ],
)
def test_an_example_passes_all_checks(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, write_package(module, tmp_path), tmp_path / "site-packages")
    findings = list(check_each(Trials(module.replace("_", "-"), toy_place(tmp_path / "toy"))))
    assert [(one.check, one.what) for one in findings if one.status == "failed"] == []
    assert sum(one.status == "passed" for one in findings) >= 21


@pytest.fixture
def module(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(write_package(request.param, tmp_path)))
    return importlib.import_module(request.param)


@pytest.mark.parametrize("module", ["my_simpo"], indirect=True)
def test_the_simpo_of_the_page_is_the_one_of_recbench(module: Any) -> None:
    import torch

    from recbench.llm import PairBatch, simpo

    pairs = PairBatch(
        pi_w=torch.tensor([-3.0, -8.0]),
        pi_l=torch.tensor([[-4.0, -9.0], [-2.0, 0.0]]),
        mask=torch.tensor([[True, True], [True, False]]),
        len_w=torch.tensor([3, 4]),
        len_l=torch.tensor([[2, 3], [4, 0]]),
        example=torch.tensor([0, 1]),
        rejected=torch.tensor([[5, 6], [7, -1]]),
    )
    # 0.6 - 2 (-1 + 2) = -1.4, 0.6 - 2 (-1 + 3) = -3.4, 0.6 - 2 (-2 + 0.5) = 3.6
    first = (torch.tensor(-1.4).exp().log1p() + torch.tensor(-3.4).exp().log1p()) / 2
    wanted = (first + torch.tensor(3.6).exp().log1p()) / 2
    assert float(module.MySimPO().loss(pairs)) == pytest.approx(float(wanted), rel=1e-6)
    assert float(simpo(pairs, 2.0, 0.6, "pairs")) == pytest.approx(float(wanted), rel=1e-6)


@pytest.mark.parametrize("module", ["my_rere"], indirect=True)
def test_the_reward_of_the_page_is_the_one_of_recbench(module: Any) -> None:
    import torch

    from recbench.llm import ranking_reward

    hit = torch.tensor([[False, True, False, False], [False] * 4, [True, False, False, False]])
    found = torch.tensor([[True] * 4, [True] * 4, [True, True, True, False]])
    groups: Any = SimpleNamespace(hit=hit, found=found)
    reward = module.MyReRe().make_reward(None, None, None, None)(groups)
    assert reward[0].tolist() == pytest.approx([-0.390380, 1, -0.195190, -0.168128], abs=1e-6)
    torch.testing.assert_close(reward, ranking_reward()(groups))


@pytest.mark.parametrize("module", ["my_msl"], indirect=True)
def test_the_msl_of_the_page_is_a_softmax_over_the_valid_tokens(module: Any) -> None:
    """Items (2, 4, 1), (2, 5, 1) and (3, 4, 1): a choice of 2 at the root, of 2 below 2, else none."""
    import torch

    from recbench.llm import Supervision, Trie

    trie = Trie.build([[2, 4, 1], [2, 5, 1], [3, 4, 1]])
    logits = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    supervision = Supervision(
        position=torch.arange(6),
        label=torch.tensor([2, 5, 1, 3, 4, 1]),
        response=torch.tensor([0, 0, 0, 1, 1, 1]),
        step=torch.tensor([0, 1, 2, 0, 1, 2]),
        columns={"target": torch.tensor([1, 2])},
    )
    objective = module.MaskedSoftmax(trie, 2.0)
    assert objective.units(supervision) == [3]
    chosen = [(0, [2, 3], 0), (1, [4, 5], 1), (3, [2, 3], 1)]
    losses = [-(logits[row, valid] / 2).log_softmax(0)[place] for row, valid, place in chosen]
    loss, _ = objective(logits, [], supervision)
    assert float(loss) == pytest.approx(2 * float(sum(losses)) / 3, rel=1e-6)
