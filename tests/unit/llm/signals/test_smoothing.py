"""The preference oracle's temperature, and what is reported of its pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbench.errors import RecbenchError
from recbench.llm.losses.preference import oracle_smoothing
from recbench.llm.signals.smoothing import fitted_temperature, smoothing_report


@pytest.mark.parametrize("planted", [0.3, 2.0])
def test_a_planted_temperature_is_found(planted: float) -> None:
    draw = np.random.default_rng(0)
    size = draw.exponential(2 * planted, size=20_000)
    preferred = draw.random(20_000) < 1 / (1 + np.exp(-size / planted))
    assert fitted_temperature(np.where(preferred, size, -size)) == pytest.approx(planted, rel=0.05)


@pytest.mark.parametrize(("gaps", "bound"), [([1.0, 2.0], "0.01"), ([1.0, -1.0], "100")])
def test_gaps_that_are_all_right_or_say_nothing_leave_no_temperature(gaps: list[float], bound: str) -> None:
    with pytest.raises(RecbenchError, match=f"ended at its bound, {bound}") as caught:
        fitted_temperature(np.array(gaps))
    assert "rosepo:smoothing=constant" in str(caught.value.fix)


def test_the_report_of_four_pairs_by_hand() -> None:
    # right, tied, wrong by one (0.731, above the cap), wrong by nine
    s_w, s_l = torch.tensor([2.0, 1.0, 0.0, 0.0]), torch.tensor([1.0, 1.0, 1.0, 9.0])
    epsilon = oracle_smoothing(s_w, s_l, 1.0, limit=0.4)
    report = smoothing_report(s_w, s_l, epsilon, cap=0.4)
    mean = (0.268941 + 3 * 0.4) / 4  # a tie has 0.5, which is above the cap too
    assert report == {
        "oracle_accuracy": pytest.approx(1.5 / 4),
        "smoothing_mean": pytest.approx(mean, abs=1e-6),
        "smoothing_clipped_share": pytest.approx(3 / 4),
        "smoothing_pull_mean": pytest.approx(1 - 2 * mean, abs=1e-6),
    }
