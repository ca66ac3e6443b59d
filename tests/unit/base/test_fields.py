"""What a dataclass says of its fields, read from its annotations and its source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Interval

from recbench.base.fields import documented, sentence_at_value, sentences_of
from recbench.ranges import Positive


@dataclass(kw_only=True)
class Below:
    rate: Positive = 1e-5
    """How fast it goes (Eq. 4-5), in
    two lines."""
    kind: Literal["a", "b"] = "a"
    """As in Section 3.2."""


@dataclass(kw_only=True)
class Above(Below):
    sizes: tuple[Annotated[int, Interval(ge=2, lt=9)], ...] = (2, 3)
    """Widths."""
    name_: str
    limit: float | None = None
    on: bool = True
    rate: Positive = 0.5
    hidden: list[int] = field(default_factory=list, init=False)


def test_type_bounds_default_and_sentence_of_each_parameter() -> None:
    found = {one.name: one for one in documented(Above)}
    assert list(found) == ["rate", "kind", "sizes", "name", "limit", "on"]  # `hidden` is no parameter
    assert (found["rate"].type, found["rate"].allowed, found["rate"].default) == ("number", "above 0", 0.5)
    assert (found["kind"].type, found["kind"].allowed) == ("one of", "a, b")
    assert (found["sizes"].type, found["sizes"].allowed) == (
        "several, each a whole number",
        "at least 2, below 9",
    )
    assert found["sizes"].default == [2, 3]
    assert (found["limit"].type, found["limit"].default) == ("number, or none", None)
    assert (found["on"].type, found["on"].default) == ("true or false", True)
    assert [one.required for one in found.values()] == [False, False, False, True, False, False]


def test_a_sentence_is_inherited_and_names_its_place_in_the_paper() -> None:
    rate, kind, *_ = documented(Above)
    assert (rate.meaning, rate.place) == ("How fast it goes (Eq. 4-5), in two lines.", "Eq. 4-5")
    assert (kind.meaning, kind.place) == ("As in Section 3.2.", "Section 3.2")
    assert sentences_of(Above)["sizes"] == "Widths."


def test_a_sentence_about_values_belongs_to_the_class_that_gives_them() -> None:
    assert sentence_at_value(Below, "rate") == "How fast it goes (Eq. 4-5), in two lines."
    assert sentence_at_value(Above, "rate") == ""  # another value, of which nothing is said
    assert sentence_at_value(Above, "kind") == "As in Section 3.2."
    assert sentence_at_value(Above, "none") == ""


def test_a_class_without_source_has_parameters_without_sentences() -> None:
    space: dict[str, type] = {}
    exec(  # as a notebook or a generated module makes classes
        "from dataclasses import dataclass\n@dataclass\nclass Made:\n    beta: float = 0.1\n    'Lost.'\n",
        space,
    )
    (one,) = documented(space["Made"])
    assert (one.name, one.type, one.default, one.meaning) == ("beta", "number", 0.1, "")
