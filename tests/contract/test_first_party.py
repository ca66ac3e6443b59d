"""What recbench's own methods do under the guard: nothing that would mark them, in any paradigm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from recbench.errors import MissingError
from recbench.planning import registry
from recbench.planning.description import check_requirements, describe, is_third_party
from recbench.results.guarded import Guarded
from recbench.running.guard import landlock

if TYPE_CHECKING:
    from tests.conftest import World

QUICK = {
    "train.epochs": "1",
    "train.max_rows": "16",
    "train.batch": "8",
    "train.pack": "none",
    "identifiers.codes": "16",
}


def own(kind: str) -> list[str]:
    """The methods of recbench's own that can be used here."""
    found = []
    for name in registry.available():
        if is_third_party(name):
            continue
        plugin = describe(name)
        try:
            check_requirements(plugin)
        except MissingError:
            continue
        if plugin.traits.kind == kind and not plugin.required:
            found.append(name)
    return found


def check_unmarked(world: World, *methods: str, **more: Any) -> None:
    runs = world.run(*methods, **more)
    assert {run.id: run.reason for run in runs if run.status != "complete"} == {}
    guards = {run.label: run.manifest.guard or Guarded() for run in runs}
    assert {label: guard.marks for label, guard in guards.items() if guard.marks} == {}
    abi = landlock.abi()
    assert {guard.by for guard in guards.values()} == {f"landlock ABI {abi} + audit" if abi else "audit"}


@pytest.mark.slow
def test_no_scorer_is_marked(world: World) -> None:
    pytest.importorskip("torch")
    check_unmarked(world, *(name for name in own("scorer") if not describe(name).traits.needs_parent))


@pytest.mark.slow
@pytest.mark.parametrize("paradigm", ["semantic-id", "title", "hybrid"])
def test_no_language_model_is_marked(world: World, paradigm: str) -> None:
    pytest.importorskip("transformers")
    settings = {k: v for k, v in QUICK.items() if paradigm == "semantic-id" or not k.startswith("identif")}
    check_unmarked(world, *own("llm"), paradigm=paradigm, settings=settings)
