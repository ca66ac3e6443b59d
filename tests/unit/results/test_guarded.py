"""The record of the guard: the weakest mechanism counts, and nothing that was told is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbench.results.guarded import GUARD, MOST, Guarded, Watch, joined

LANDLOCK = "landlock ABI 7 + audit"


@pytest.mark.parametrize(
    ("by", "weakest"),
    [
        ([], "none"),
        ([LANDLOCK, LANDLOCK], LANDLOCK),
        ([LANDLOCK, "audit"], "audit"),
        (["audit", "none", LANDLOCK], "none"),
        (["landlock ABI 10 + audit", LANDLOCK], LANDLOCK),
    ],
)
def test_the_weakest_of_all_parts_counts(by: list[str], weakest: str) -> None:
    assert joined([Guarded(by=each) for each in by]).by == weakest


def test_what_several_parts_tell_is_kept_once() -> None:
    parts = [Guarded(marks=("a", "b"), seen=("x",)), Guarded(marks=("b", "c"))]
    assert (joined(parts).marks, joined(parts).seen) == (("a", "b", "c"), ("x",))


def test_each_event_is_on_disk_at_once_and_a_second_attempt_adds_to_it(tmp_path: Path) -> None:
    first = Watch(tmp_path / GUARD)
    first.take({"event": "guard", "by": "audit"})
    first.take({"event": "guard", "marks": "read of a/b refused, by the method"})
    assert Guarded.read(tmp_path / GUARD) == Guarded(
        by="audit", marks=("read of a/b refused, by the method",)
    )
    second = Watch(tmp_path / GUARD)
    second.take({"event": "guard", "by": LANDLOCK})
    second.take({"event": "guard", "seen": "start of ldconfig by recbench"})
    (tmp_path / GUARD).unlink()
    second.write()
    assert Guarded.take(tmp_path / GUARD) == Guarded(
        by="audit", marks=("read of a/b refused, by the method",), seen=("start of ldconfig by recbench",)
    )
    assert Guarded.read(tmp_path / GUARD) is None


def test_a_flood_of_events_is_cut(tmp_path: Path) -> None:
    watch = Watch(tmp_path / GUARD)
    for number in range(MOST + 5):
        watch.take({"marks": f"start of p{number} by the method"})
    found = Guarded.read(tmp_path / GUARD)
    assert found is not None
    assert len(found.marks) == MOST


@pytest.mark.parametrize(
    "by", ["landlock", "landlock ABI \u00b2 + audit", "landlock ABI 7000 + audit", "", 3]
)
def test_a_mechanism_that_there_is_not_counts_as_none(tmp_path: Path, by: object) -> None:
    watch = Watch(tmp_path / GUARD)
    watch.take({"by": LANDLOCK})
    watch.take({"by": by})
    assert Guarded.read(tmp_path / GUARD) == Guarded(by="none")


def test_a_worker_that_told_nothing_was_not_guarded(tmp_path: Path) -> None:
    Watch(tmp_path / GUARD).write()
    assert Guarded.read(tmp_path / GUARD) == Guarded(by="none")
