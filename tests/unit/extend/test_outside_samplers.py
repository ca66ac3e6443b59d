"""Samplers of other packages: part of a run's identity, imported by children alone, and their own faults."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from recbench.base.environment import DISTRIBUTION
from recbench.base.extensions import points
from recbench.base.extensions.points import UnusablePluginError
from recbench.data import Ragged
from recbench.doctor.plugins import plugins
from recbench.errors import UsageError
from recbench.method import Stopped
from recbench.planning.description import describe
from recbench.planning.plugins import extensions
from recbench.running.failures import MethodError, failure_of, of_method
from tests.conftest import World
from tests.unit.extend.conftest import Package

SAMPLER = '''
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class First:
    """The first items of the catalogue."""

    version: ClassVar[int] = 3
    asks_policy: ClassVar[bool] = False
    resample: ClassVar[bool] = False
    rounds: ClassVar[int] = 1

    def draw(self, ask):
        return ask
'''
GROUP = "[recbench.samplers]\n"


def test_recbenchs_own_samplers_are_in_the_same_registry() -> None:
    from recbench.llm.signals.samplers import SAMPLERS

    own = [name for name, point in points.available("sampler").items() if points.is_own(point)]
    assert own == sorted(SAMPLERS)
    for name, cls in SAMPLERS.items():
        assert points.load("sampler", name) is cls


def test_a_sampler_is_described_and_built_and_not_imported(example: World) -> None:
    found = extensions.describe("sampler", "matched", example.root.path)
    assert (found.distribution, found.version, found.facts) == ("my-extensions", 1, {"asks_policy": False})
    assert [(one.name, one.default) for one in found.details] == [("pool", 50)]
    method = describe("sdpo", example.root.path)
    assert method.build({"negatives": "matched:pool=9.0"}).params["negatives"] == "matched:pool=9"
    assert method.build({"negatives": "matched:pool=50"}).params["negatives"] == "matched"
    assert "my_extensions" not in sys.modules


def test_whose_sampler_it_is_and_its_code_decide_the_identity_of_a_run(
    world: World, package: Package
) -> None:
    place = package("lantern", GROUP + "first = lantern:First\n", SAMPLER)
    method = "dpo:negatives=first"
    (*_, before) = world.plan(method)
    assert before.spec.fit.llm is not None
    named = before.spec.fit.llm["extensions"]["negatives"]
    assert {key: named[key] for key in ("kind", "name", "version", "distribution")} == {
        "kind": "sampler",
        "name": "first",
        "version": 3,
        "distribution": "lantern",
    }
    assert before.resolved.distributions == [DISTRIBUTION, "lantern"]
    assert "lantern" not in sys.modules
    (place / "lantern.py").write_text(SAMPLER.replace("The first items", "The very first items"))
    assert world.plan(method)[-1].spec.id == before.spec.id  # a docstring draws nothing
    (place / "lantern.py").write_text(SAMPLER.replace("return ask", "return -ask"))
    changed = world.plan(method)
    assert changed[-1].spec.id != before.spec.id
    assert changed[0].spec.id == world.plan(method)[0].spec.id  # the parent draws none
    plain = world.plan("dpo")[-1].spec.fit.llm
    assert plain is not None
    assert "extensions" not in plain


@pytest.mark.parametrize(
    ("source", "what", "why"),
    [
        ("raise RuntimeError('no luck')", "cannot be loaded", "RuntimeError: no luck"),
        ("import os\nos._exit(7)", "cannot be used", "ended the process that reads it (exit code 7)"),
        ("First = 3", "cannot be used", "3 is no class"),
        (SAMPLER.replace("draw", "drawn"), "cannot be used", "First has no draw"),
        (SAMPLER.replace("@dataclass(frozen=True, kw_only=True)\n", ""), "cannot be used", "is no dataclass"),
        (SAMPLER.replace("= 3", "= 'x'"), "cannot be used", "First.version is 'x'"),
        (SAMPLER.replace("    asks", "    width = 3\n    asks"), "cannot be used", "has no type annotation"),
        (
            SAMPLER.replace("    asks", "    width: dict = None\n    asks"),
            "cannot be used",
            "is a dict, which cannot be given as text",
        ),
    ],
    ids=["raises", "exits", "no-class", "no-draw", "no-dataclass", "version", "untyped", "no-text"],
)
def test_a_broken_sampler_names_itself_and_stops_nothing_else(
    world: World, package: Package, source: str, what: str, why: str
) -> None:
    package("lantern", GROUP + "first = lantern:First\n", source)
    with pytest.raises(UnusablePluginError, match=f"'first' of lantern {what}") as caught:
        extensions.describe("sampler", "first", world.root.path)
    assert why in caught.value.why
    assert caught.value.fix
    answer = world.recbench("run", "-m", "dpo:negatives=first", "-d", "toy")
    assert answer.returncode == 3
    assert "sampler of negatives 'first' of lantern" in answer.stderr
    assert describe("dpo", world.root.path).build({"negatives": "uniform"}).params["negatives"] == "uniform"


@pytest.mark.usefixtures("world")
def test_a_sampler_that_finds_nothing_is_named_and_not_the_method(package: Package) -> None:
    from recbench.llm.signals.samplers import nothing_to_reject

    package("lantern", GROUP + "first = lantern:First\n", SAMPLER)
    error = nothing_to_reject("first", 12)
    assert isinstance(error, UnusablePluginError)
    assert (error.what, error.place) == (
        "sampler of negatives 'first' of lantern found nothing to reject",
        "lantern:First",
    )
    assert "in none of 12 examples" in error.why


def test_a_sampler_of_recbenchs_name_is_not_used_and_the_doctor_says_so(
    world: World, package: Package
) -> None:
    package("lantern", GROUP + "uniform = lantern:First\n", "raise RuntimeError\n")
    assert [point.value for point in points.ignored("sampler")] == ["lantern:First"]
    said = plugins(world.root)
    assert said.status == "warning"
    assert "recbench has a sampler of negatives of this name, and that one is used" in said.found
    assert "uniform" not in points.outside("sampler")
    assert extensions.describe("sampler", "uniform").distribution == DISTRIBUTION
    assert describe("dpo", world.root.path).build({"negatives": "uniform"}).params["negatives"] == "uniform"


def test_an_unknown_sampler_names_the_nearest_of_all_packages(example: World) -> None:
    with pytest.raises(
        UsageError, match="no sampler of negatives 'mached'; did you mean 'matched'"
    ) as caught:
        describe("dpo", example.root.path).build({"negatives": "mached"})
    assert caught.value.fix == "recbench list samplers"
    with pytest.raises(UsageError, match="no parameter of matched 'pol'; did you mean 'pool'"):
        describe("dpo", example.root.path).build({"negatives": "matched:pol=3"})


@pytest.mark.usefixtures("example")
def test_the_examples_sampler_draws_items_of_the_targets_popularity() -> None:
    sampler: Any = points.load("sampler", "matched")(pool=2)
    catalogue = SimpleNamespace(popularity=np.array([9, 1, 8, 2, 9, 7]))
    examples = SimpleNamespace(
        target=np.array([0, 1]), history=Ragged.of([[4], [2]]), __len__=lambda _self: 2
    )

    class Two(SimpleNamespace):
        def __len__(self) -> int:
            return 2

    ask = SimpleNamespace(
        data=SimpleNamespace(catalogue=catalogue), examples=Two(**vars(examples)), count=3, key=5
    )
    drawn = cast(np.ndarray[Any, Any], sampler.draw(ask))
    # nearest to 9 interactions beside items 0 and 4: items 2 and 5; nearest to 1 beside 1 and 2: 3, then 5
    assert [sorted(row) for row in drawn.tolist()] == [[-1, 2, 5], [-1, 3, 5]]


DRAWS = {
    "wide": ("np.zeros((2, 4), dtype=int)", "int64 of shape (2, 4), not whole numbers of shape (2, 3)"),
    "real": ("np.zeros((2, 3))", "float64 of shape (2, 3)"),
    "beyond": ("np.full((2, 3), 6)", "it gives 6 to 6, and items are 0 to 5"),
    "failing": ("1 / 0", "ZeroDivisionError: division by zero"),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.usefixtures("world")
def test_a_sampler_that_draws_no_items_is_named_and_not_the_method(package: Package, name: str) -> None:
    from recbench.llm.signals.samplers import drawn

    body, why = DRAWS[name]
    source = "import numpy as np\n" + SAMPLER.replace("return ask", f"return {body}")
    package("lantern", GROUP + "first = lantern:First\n", source)
    ask: Any = SimpleNamespace(examples=[0, 1], count=3, data=SimpleNamespace(num_items=6))
    with pytest.raises(UnusablePluginError, match="sampler of negatives 'first' of lantern") as caught:
        drawn("first", ask)
    assert why in caught.value.why
    record = failure_of(_wrapped(caught.value))
    told = of_method(record, method="dpo", package="recbench 0.1.0", place="recbench_methods.dpo:DPO")
    assert told["class"] == "method"
    assert told["what"].startswith("sampler of negatives 'first' of lantern")
    assert "lantern:First" in told["fix"]
    assert "lantern" in told["at"]
    if name == "failing":  # its own line, and none of what called it
        assert re.fullmatch(r".*/lantern\.py:\d+ in draw", told["at"])


def _wrapped(error: Exception) -> MethodError:
    """As a worker has it."""
    try:
        raise MethodError from error
    except MethodError as found:
        return found


@pytest.mark.usefixtures("world")
def test_a_full_memory_and_a_stop_are_nobodys_fault(package: Package) -> None:
    from recbench.llm.signals.samplers import drawn

    for raised in ("MemoryError", "Stopped"):
        source = "from recbench.method import Stopped\n" + SAMPLER.replace("return ask", f"raise {raised}")
        name = f"lantern_{raised.lower()}"
        package(name, GROUP + f"{raised.lower()} = {name}:First\n", source)
        with pytest.raises((MemoryError, Stopped)):
            drawn(raised.lower(), SimpleNamespace())  # type: ignore[arg-type]  # it is not looked at
