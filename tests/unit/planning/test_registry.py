from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recbench.base.environment import DISTRIBUTION, FORMER
from recbench.base.extensions import points
from recbench.errors import MissingError, UsageError
from recbench.planning import registry
from recbench.planning.description import check_requirements, describe, is_third_party

if TYPE_CHECKING:
    from tests.conftest import World


def distribution(folder: Path, name: str, points: str) -> Path:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[recbench.methods]\n{points}\n")
    return folder


@pytest.mark.usefixtures("world")
def test_a_third_partys_method_is_found_beside_the_first_partys() -> None:
    assert {"noise", "popularity"} <= set(registry.available())
    plugin = registry.load("counts")
    assert plugin.distribution == "toy-methods"
    assert (plugin.traits.version, plugin.traits.stochastic, plugin.traits.kind) == (3, False, "scorer")


@pytest.mark.usefixtures("world")
def test_an_unknown_method_names_the_nearest_and_where_to_look() -> None:
    with pytest.raises(UsageError, match="no method 'nosie'; did you mean 'noise'") as caught:
        registry.load("nosie")
    assert caught.value.fix == "recbench list methods"


def test_two_distributions_that_claim_a_name_are_both_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(distribution(tmp_path, "rival", "popularity = rival:Popularity")))
    with pytest.raises(UsageError, match="two installed packages provide a method 'popularity'") as caught:
        registry.load("popularity")
    assert registry.load("itemknn").distribution == DISTRIBUTION  # who does not use the name is not stopped
    assert "rival" in caught.value.why
    assert "recbench" in caught.value.why


def test_recbench_under_its_former_name_is_no_second_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editable install keeps the name under which it was made until it is made again."""
    own = "popularity = recbench_methods.popularity:Popularity"
    monkeypatch.syspath_prepend(str(distribution(tmp_path / "old", FORMER, own)))
    monkeypatch.syspath_prepend(str(distribution(tmp_path / "new", DISTRIBUTION, own)))
    plugin = registry.load("popularity")
    assert (plugin.distribution, is_third_party("popularity")) == (DISTRIBUTION, False)
    monkeypatch.syspath_prepend(str(distribution(tmp_path / "other", FORMER, "odd = other:Odd")))
    assert registry.owner(registry.available()["odd"]) == FORMER  # another project of that name
    assert is_third_party("odd")


def test_a_fork_that_claims_the_same_module_is_a_second_package_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = registry.available()["popularity"]
    monkeypatch.syspath_prepend(str(distribution(tmp_path, "fork", f"popularity = {point.value}")))
    with pytest.raises(UsageError, match="two installed packages provide a method 'popularity'"):
        registry.load("popularity")


def test_a_plugin_that_cannot_be_imported_is_named_and_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(distribution(tmp_path, "wreck", "wreck = no_such_module:Thing")))
    with pytest.raises(MissingError, match="method 'wreck' of wreck cannot be loaded") as caught:
        registry.load("wreck")
    assert "no_such_module" in caught.value.why
    assert registry.load("popularity").name == "popularity"


def test_of_two_copies_of_a_package_the_first_on_the_path_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(distribution(tmp_path / "old", "twice", "gone = twice:Gone")))
    monkeypatch.syspath_prepend(str(distribution(tmp_path / "new", "twice", "here = twice:Here")))
    assert "here" in registry.available()
    assert "gone" not in registry.available()


def test_a_package_without_readable_metadata_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = distribution(tmp_path, "ruin", "ruin = ruin:Ruin")
    (folder / "ruin-1.0.dist-info" / "METADATA").write_bytes(b"Name: \xff\n")
    monkeypatch.syspath_prepend(str(folder))
    assert "popularity" in registry.available()


def test_listing_loads_no_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "explosive.py").write_text("raise RuntimeError('loaded')\n")
    monkeypatch.syspath_prepend(str(distribution(tmp_path, "explosive", "explosive = explosive:Thing")))
    assert "explosive" in registry.available()


def test_a_plugin_builds_its_method_from_text(world: World) -> None:
    assert world.plan("noise:beta=2")[0].spec.fit.params == {"beta": 2.0}


CLASSES = """
from dataclasses import dataclass
from typing import ClassVar


class Verbs:
    def fit(self, data, /, *, run): ...
    def load(self, data, /, *, run): ...
    def rank(self, requests, /, *, k): ...


class Plain(Verbs):
    pass


@dataclass
class Silent:
    def fit(self, data, /, *, run): ...
    def load(self, data, /, *, run): ...


@dataclass
class Untyped(Verbs):
    beta = 0.1


@dataclass
class Shapeless(Verbs):
    weights: dict = None


@dataclass
class Greedy(Verbs):
    requires: ClassVar[tuple[str, ...]] = ("no_such_library",)
    extra: ClassVar[str] = "gpu"


nothing = 3
"""

BAD = {
    "Plain": ("Plain is no dataclass", "@dataclass(kw_only=True) above class Plain, in odd:Plain"),
    "Silent": ("Silent has no rank", "define rank in the class, in odd:Silent"),
    "Untyped": (
        "Untyped.beta has no type annotation, so it cannot be set",
        "beta: float = 0.1; or ClassVar, if it is no parameter, in odd:Untyped",
    ),
    "Shapeless": ("Shapeless.weights is a dict, which cannot be given as text", "bool, int, float, str"),
    "nothing": ("its entry point names 3, which is no class", 'NAME = "module:Class"'),
}


def write_odd_methods(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = "\n".join(f"odd-{name.lower()} = odd:{name}" for name in (*BAD, "Greedy"))
    (folder / "odd.py").write_text(CLASSES)
    monkeypatch.delitem(sys.modules, "odd", raising=False)
    monkeypatch.syspath_prepend(str(distribution(folder, "odd", points)))


@pytest.mark.parametrize("name", BAD)
def test_a_class_that_is_no_method_is_refused_when_it_is_named(
    name: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd").mkdir()
    write_odd_methods(tmp_path / "odd", monkeypatch)
    why, fix = BAD[name]
    with pytest.raises(points.UnusablePluginError) as caught:
        registry.load(f"odd-{name.lower()}")
    assert why in caught.value.why
    assert fix in caught.value.fix
    answer = world.recbench("run", "-m", f"odd-{name.lower()}", "-d", "toy")
    assert (answer.returncode, why in answer.stderr) == (3, True)
    assert not world.root.runs.exists()
    planned = world.recbench("plan", "-m", f"odd-{name.lower()}", "-d", "toy", "--json")
    assert [run["state"] for run in json.loads(planned.stdout)["runs"]] == ["blocked"]
    listed = json.loads(world.recbench("list", "methods", "--json").stdout)
    assert [why in row["about"] for row in listed if row["name"] == f"odd-{name.lower()}"] == [True]


def test_a_method_whose_modules_are_not_installed_names_the_pip_line(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd").mkdir()
    write_odd_methods(tmp_path / "odd", monkeypatch)
    assert registry.load("odd-greedy").traits.requires == ("no_such_library",)  # boards need no library
    answer = world.recbench("run", "-m", "odd-greedy", "-d", "toy")
    assert answer.returncode == 3
    assert "not installed: no_such_library" in answer.stderr
    assert 'pip install "odd[gpu]"' in answer.stderr
    assert not world.root.runs.exists()
    (planned,) = json.loads(world.recbench("plan", "-m", "odd-greedy", "-d", "toy", "--json").stdout)["runs"]
    assert (planned["state"], planned["fix"]) == ("blocked", 'pip install "odd[gpu]"')
    listed = json.loads(world.recbench("list", "methods", "--json").stdout)
    assert {row["name"]: row["needs"] for row in listed}["odd-greedy"] == 'pip install "odd[gpu]"'
    assert {row["name"]: row["needs"] for row in listed}["noise"] is None


def test_every_installed_method_is_usable() -> None:
    for name in registry.available():
        check_requirements(describe(name))


def test_no_method_of_the_project_overrides_the_ranker_of_the_engine() -> None:
    shipped = [registry.load(name) for name in registry.available() if _is_shipped(name)]
    assert len([one for one in shipped if one.traits.kind == "llm"]) > 5
    assert [one.name for one in shipped if one.ranks_itself] == []


@pytest.mark.usefixtures("world")
def test_a_method_that_overrides_rank_is_known() -> None:
    assert registry.load("speaker").ranks_itself
    assert not registry.load("noise").ranks_itself  # a scorer has no ranker of the engine's


def _is_shipped(name: str) -> bool:
    return registry.available()[name].value.startswith("recbench_methods.")
