from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.base import params
from recbench.errors import UsageError
from recbench.ranges import Count, Decay, Positive, Share
from recbench.settings import IdentifierSettings, TrainSettings


@dataclass(kw_only=True)
class Knobs:
    beta: float = 0.1
    steps: int = 3
    fast: bool = False
    form: Literal["mult", "add"] = "mult"
    layers: tuple[int, ...] = (1, 2)
    limit: int | None = None
    name: str = "x"
    hidden: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.beta < 0:
            raise ValueError("beta must not be negative")


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("sdpo", "sdpo", {}),
        ("sdpo:beta=0.5", "sdpo", {"beta": "0.5"}),
        ("sdpo:beta=0.5, steps=2", "sdpo", {"beta": "0.5", "steps": "2"}),
        ("exact[depth=50,budget=1]", "exact", {"depth": "50", "budget": "1"}),
        ("exact[]", "exact", {}),
        ("canary:path=/a[0]", "canary", {"path": "/a[0]"}),
        ("m:path=c:/d", "m", {"path": "c:/d"}),
    ],
)
def test_a_selection_is_a_name_and_its_settings(text: str, name: str, values: dict[str, str]) -> None:
    assert params.parse_selection(text) == (name, values)


@pytest.mark.parametrize("text", ["", ":beta=1", "exact[depth=1", "m:beta", "m:=1", "m:a=1,a=2"])
def test_a_malformed_selection_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        params.parse_selection(text)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("beta", "1", 1.0),
        ("beta", "1e-3", 0.001),
        ("steps", "5", 5),
        ("steps", "5.0", 5),
        ("fast", "yes", True),
        ("fast", "False", False),
        ("form", "add", "add"),
        ("layers", "4+8", (4, 8)),
        ("layers", [4, 8], (4, 8)),
        ("limit", "none", None),
        ("limit", "7", 7),
        ("name", "a=b", "a=b"),
    ],
)
def test_text_becomes_the_annotated_type(key: str, text: Any, value: object) -> None:
    built = getattr(params.build(Knobs, {key: text}, what="knobs"), key)
    assert built == value
    assert type(built) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("bet", "1", "did you mean 'beta'"),
        ("beta", "x", "is not a finite number"),
        ("beta", "-1", "beta must not be negative"),
        ("steps", "2.5", "is not a whole number"),
        ("fast", "maybe", "is not true or false"),
        ("form", "sub", "is not one of mult, add"),
        ("limit", "few", "is not a whole number"),
        ("name", "a\x1b[31mb", "has a control character"),
        ("name", "a\u202eb", "has a control character"),
        ("name", "a\nb", "has a control character"),
        ("hidden", "1", "no parameter of knobs 'hidden'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(key: str, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        params.build(Knobs, {key: text}, what="knobs")
    assert said in str(caught.value)


@given(
    st.builds(
        Knobs,
        beta=st.floats(0, 1e6),
        steps=st.integers(0, 2**31),
        fast=st.booleans(),
        form=st.sampled_from(("mult", "add")),
        layers=st.lists(st.integers(0, 99), max_size=4).map(tuple),
        limit=st.none() | st.integers(0, 9),
    )
)
def test_resolved_parameters_build_the_same_instance(knobs: Knobs) -> None:
    assert params.build(Knobs, params.resolved(knobs), what="knobs") == knobs
    words = {name: params.as_text(value) for name, value in params.resolved(knobs).items()}
    assert params.build(Knobs, words, what="knobs") == knobs


@dataclass
class Ranged:
    rate: Positive = 0.1
    share: Share = 0.5
    decay: Decay = 1.0
    width: Count = 3
    sizes: tuple[Count, ...] = (1,)
    limit: Count | None = None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("rate", "0", "rate = 0.0 is not above 0"),
        ("rate", "-1", "rate = -1.0 is not above 0"),
        ("rate", "nan", "rate = 'nan' is not a finite number"),
        ("rate", "inf", "rate = 'inf' is not a finite number"),
        ("rate", "1_000", "rate = '1_000' is not a finite number"),
        ("rate", "１", "rate = '１' is not a finite number"),
        ("share", "1.01", "share = 1.01 is not at most 1"),
        ("share", "-0.01", "share = -0.01 is not at least 0"),
        ("decay", "0", "decay = 0.0 is not above 0"),
        ("width", "0", "width = 0 is not at least 1"),
        ("width", "inf", "width = 'inf' is not a whole number"),
        ("width", "1e400", "width = '1e400' is not a whole number"),
        ("sizes", "4+0", "sizes = 0 is not at least 1"),
        ("limit", "0", "limit = 0 is not at least 1"),
    ],
)
def test_a_value_outside_its_declared_range_is_refused(key: str, value: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        params.build(Ranged, {key: value}, what="toy")
    assert message in caught.value.what


def test_the_ends_of_a_range_belong_to_it_where_they_are_closed() -> None:
    made = params.build(Ranged, {"share": "1", "decay": "1", "width": "1", "limit": "none"}, what="toy")
    assert made == Ranged(share=1.0, decay=1.0, width=1, limit=None)


@pytest.mark.parametrize(
    "setting", ["lr=nan", "batch=inf", "lr=-1", "warmup=7", "epochs=0", "batch=0", "patience=-1"]
)
def test_training_settings_declare_their_ranges(setting: str) -> None:
    key, _, value = setting.partition("=")
    with pytest.raises(UsageError, match=key):
        params.build(TrainSettings, {key: value}, what="train")


@pytest.mark.parametrize("setting", ["codes=0", "levels=0", "text_share=1.5", "dim=0"])
def test_identifier_settings_declare_their_ranges(setting: str) -> None:
    key, _, value = setting.partition("=")
    with pytest.raises(UsageError, match=key):
        params.build(IdentifierSettings, {key: value}, what="identifiers")


def test_no_text_is_a_tuple_of_nothing() -> None:
    annotation = tuple[str, ...]
    assert params.coerce("", annotation, name="words") == ()
    assert params.coerce("a+b", annotation, name="words") == ("a", "b")
