"""Sizes, counts and what semantic ids predict, as text."""

from __future__ import annotations

import pytest

from recbench.base.words import gain_lines, plural, size_text


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


GOOD = {
    "source": "residual-kmeans",
    "embedding": "collaborative",
    "predictive_gain": 0.703,
    "collision_rate": 0.0975,
    "num_moved": 164,
}


def test_semantic_ids_have_a_line_and_poor_ones_a_warning() -> None:
    line = (
        "semantic ids aaaaaaaaaaaa (residual-kmeans, collaborative): the first code gains 0.70 nats, "
        "9.8% collided, 164 items were moved to free codes"
    )
    assert gain_lines("a" * 64, GOOD) == [line]
    first, warning = gain_lines("b" * 64, {**GOOD, "embedding": "tfidf", "predictive_gain": 0.0994})
    assert first.startswith("semantic ids bbbbbbbbbbbb (residual-kmeans, tfidf)")
    assert warning.startswith("warning: semantic ids bbbbbbbbbbbb predict hardly more than random ones")
    assert "--set identifiers.embedding=collaborative" in warning


@pytest.mark.parametrize(
    "facts",
    [{}, {"num_cut": 3}, *({**GOOD, name: value} for name in GOOD for value in ([7], None, "\x1b[2J"))],
)
def test_titles_and_what_is_no_number_have_no_line(facts: dict[str, object]) -> None:
    lines = gain_lines("a" * 64, facts)
    assert lines == [] or (isinstance(facts["source"], str) and isinstance(facts["embedding"], str))
    assert gain_lines(None, GOOD) == []
