"""The runs that methods are given, and the traits that their classes declare."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from recbench.errors import UsageError
from recbench.method import LLMRun, ParentFit, RunContext, traits_of
from recbench.testing import tiny_settings, toy_run


def test_a_run_without_a_parent_says_what_the_class_must_declare(tmp_path: Path) -> None:
    run = toy_run(tmp_path / "fit")
    with pytest.raises(UsageError, match="needs a parent fit") as caught:
        run.needed_parent  # noqa: B018  # reading it is what raises
    assert "uses_parent" in caught.value.why
    parent = ParentFit(id="sft", workdir=tmp_path, trained_tokens=5, llm=tiny_settings())
    assert replace(run, parent=parent).needed_parent is parent


def test_an_llm_run_is_the_same_run_with_settings(tmp_path: Path) -> None:
    plain, llm = replace(toy_run(tmp_path / "fit", seed=3), world_size=2), tiny_settings()
    run = plain.with_llm(llm)
    assert isinstance(run, LLMRun)
    assert (run.llm, run.seed, run.world_size) == (llm, 3, 2)
    assert run.child_seed("init") == plain.child_seed("init")
    assert type(toy_run(tmp_path / "other")) is RunContext
    assert type(replace(run, rank=1)) is LLMRun


@dataclass
class Declares:
    version: ClassVar[int] = 7
    starts_from: ClassVar[str] = "parent"


def test_traits_are_the_class_attributes_of_their_names() -> None:
    traits = traits_of(Declares)
    assert (traits.version, traits.starts_from, traits.needs_parent) == (7, "parent", True)
    assert (traits.kind, traits.stochastic, traits.uses_parent) == ("scorer", True, False)
