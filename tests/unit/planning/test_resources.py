"""Lengths of time as people and as Slurm write them."""

from __future__ import annotations

import pytest

from recbench.errors import UsageError
from recbench.planning.resources import Resources, minutes_of


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("8h", 480),
        ("90m", 90),
        ("1h30m", 90),
        ("2d", 2880),
        ("30s", 1),
        ("61s", 2),
        ("08:00:00", 480),
        ("1-00:00:00", 1440),
        ("30:00", 30),  # Slurm's minutes and seconds
        ("00:00:01", 1),
    ],
)
def test_a_length_of_time_is_whole_minutes_rounded_up(text: str, minutes: int) -> None:
    assert minutes_of(text) == minutes


@pytest.mark.parametrize(
    "text", ["soon", "8", "h", "1h30", "-1h", "1:2:3", "", "0s", "00:00", "9" * 5000 + "d"]
)
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no length of time"):
        minutes_of(text)


def test_flags_come_on_top() -> None:
    base = Resources(gpus=4, minutes=60)
    assert base.with_flags(gpus=None, nodes=2, minutes=None) == Resources(gpus=4, nodes=2, minutes=60)
    assert base.with_flags(gpus=1, nodes=None, minutes=90) == Resources(gpus=1, minutes=90)
