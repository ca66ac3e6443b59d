"""Sizes and counts as text."""

from __future__ import annotations

import pytest

from recbench.base.words import plural, size_text


@pytest.mark.parametrize(("count", "text"), [(0, "0 runs"), (1, "1 run"), (2000, "2,000 runs")])
def test_a_count_has_its_noun_in_the_right_number(count: int, text: str) -> None:
    assert plural(count, "run") == text


def test_an_irregular_plural_is_given() -> None:
    assert (plural(1, "entry", "entries"), plural(3, "entry", "entries")) == ("1 entry", "3 entries")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 << 40, "3.0 TiB"), (1 << 60, "1048576.0 TiB")],
)
def test_a_size_has_the_largest_unit_that_gives_at_least_one(size: int, text: str) -> None:
    assert size_text(size) == text
