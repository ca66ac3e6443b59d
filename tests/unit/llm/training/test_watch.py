"""A share that is too high after the first tenth of training is warned of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recbench.base.progress import Silent
from recbench.llm.training.watch import ShareWatch
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.ilrec import ILRec


class Kept(Silent):
    def __init__(self) -> None:
        self.points: list[dict[str, float | int | str]] = []

    def log(self, **values: float | int | str) -> None:
        self.points.append(values)


def watched(shares: list[float], folder: Path) -> list[dict[str, float | int | str]]:
    kept = Kept()
    run = replace(toy_run(folder), report=kept)
    watch = ShareWatch("bad", run, limit=0.05, warning="{} are bad")
    for step, share in enumerate(shares):
        watch.on_step_begin(None, SimpleNamespace(global_step=step, max_steps=len(shares)), None)
        watch.add(torch.tensor(share))
    watch.on_train_end(None, SimpleNamespace(global_step=len(shares)), None)
    return kept.points


def test_the_first_tenth_of_the_steps_does_not_count(tmp_path: Path) -> None:
    assert watched([1.0, 1.0, *[0.04] * 18], tmp_path) == [{"step": 20, "bad_late": pytest.approx(0.04)}]


def test_a_share_above_the_limit_is_warned_of(tmp_path: Path) -> None:
    # the mean of 18 steps: (17 * 0.05 + 0.23) / 18 = 0.06
    points = watched([0.0, 0.0, *[0.05] * 17, 0.23], tmp_path)
    assert points == [{"step": 20, "bad_late": pytest.approx(0.06)}, {"warning": "6% are bad"}]


@pytest.mark.parametrize(("form", "warns"), [("mult", True), ("abs", False)])
def test_ilrec_warns_of_negative_logits_where_its_form_takes_them_the_wrong_way_round(
    tmp_path: Path, form: Any, warns: bool
) -> None:
    """A model that hardly learns keeps logits around 0, half of them below."""
    kept = Kept()
    llm = tiny_settings(epochs=2.0, batch=8, lr=1e-5)
    ILRec(mu=0.0, cpo_form=form).fit(toy_data(), run=replace(toy_run(tmp_path, llm=llm), report=kept))
    [late] = [
        point["negative_logit_share_late"] for point in kept.points if "negative_logit_share_late" in point
    ]
    assert float(late) > 0.3
    said = [str(point["warning"]) for point in kept.points if "warning" in point]
    assert len(said) == warns
    assert all("ILRec's negatives have a negative logit" in text and "cpo_form=abs" in text for text in said)
