from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recbench.errors import MissingError, UsageError
from recbench.planning import registry

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
        registry.available()
    assert "rival" in caught.value.why
    assert "recbench" in caught.value.why


def test_a_plugin_that_cannot_be_imported_is_named_and_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(distribution(tmp_path, "wreck", "wreck = no_such_module:Thing")))
    with pytest.raises(MissingError, match="method 'wreck' of wreck cannot be loaded") as caught:
        registry.load("wreck")
    assert "no_such_module" in caught.value.why
    assert registry.load("popularity").name == "popularity"


def test_listing_loads_no_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "explosive.py").write_text("raise RuntimeError('loaded')\n")
    monkeypatch.syspath_prepend(str(distribution(tmp_path, "explosive", "explosive = explosive:Thing")))
    assert "explosive" in registry.available()


def test_a_plugin_builds_its_method_from_text(world: World) -> None:
    assert world.plan("noise:beta=2")[0].spec.fit.params == {"beta": 2.0}
