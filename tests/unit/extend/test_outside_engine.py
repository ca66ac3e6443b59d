"""Identifier schemes and rankers of other packages: in the identity, the block and the manifest."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recbench.base.extensions import points
from recbench.base.extensions.points import UnusablePluginError
from recbench.board.commands import block_words
from recbench.comparison.block import block_of
from recbench.errors import UsageError
from recbench.planning.plan import Planned
from recbench.planning.resolve import Selection, rebuild_llm_settings, resolve
from recbench.planning.study_runs import members, missing
from recbench.settings import RANKERS, IdentifierSettings, OutsideRanker
from recbench.testing import toy_data
from tests.conftest import World
from tests.unit.extend.conftest import Package

SCHEME = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np


@dataclass(kw_only=True)
class Codes:
    version: ClassVar[int] = 1

    def codes(self, data, *, levels, codes, seed):
        return BODY
"""


def as_bundle(planned: Planned) -> Any:
    """What a block is read from."""
    return SimpleNamespace(spec=planned.spec, digests={"identifiers": "ab" * 32, "prompt": "cd" * 32})


def test_a_scheme_is_in_the_identity_and_the_block_of_every_fit_of_the_block(example: World) -> None:
    asked = {"identifiers.source": "place-digits:shuffled=yes"}
    parent, run = example.plan("dpo", settings=asked)
    for planned in (parent, run):
        llm = planned.spec.fit.llm
        assert llm is not None
        assert llm["identifiers"]["source"] == "place-digits:shuffled=true"
        assert llm["extensions"]["identifiers"]["distribution"] == "my-extensions"
        block = block_of(as_bundle(planned))
        assert block is not None
        assert block["identifiers"].startswith("place-digits:shuffled=true[")
        assert "distribution=my-extensions" in block["identifiers"]
        words = " ".join(block_words(block))
        assert "--set identifiers.source=place-digits:shuffled=true" in words
        assert "distribution" not in words
        settings = rebuild_llm_settings(planned.spec)
        assert settings == planned.resolved.llm
        assert "my-extensions" in planned.resolved.distributions
    assert run.spec.fit.id != example.plan("dpo")[-1].spec.fit.id
    assert "my_extensions" not in sys.modules


def test_a_ranker_is_in_the_identity_and_the_block_with_its_owner(example: World) -> None:
    (run,) = example.plan("sft", ranker="less-popular:weight=0.5")
    ranker = run.spec.ranker
    assert ranker is not None
    assert ranker["parameters"] == {"weight": 0.5, "pool": 50}
    assert (ranker["name"], ranker["distribution"], ranker["version"]) == (
        "less-popular",
        "my-extensions",
        1,
    )
    block = block_of(as_bundle(run))
    assert block is not None
    assert block["ranker"].startswith("less-popular[code=")
    assert "distribution=my-extensions,parameters=[pool=50,weight=0.5],version=1" in block["ranker"]
    assert block_words(block)[-2:] == ["--ranker", "less-popular:pool=50,weight=0.5"]
    settings = rebuild_llm_settings(run.spec)
    assert settings is not None
    assert isinstance(settings.ranker, OutsideRanker)
    assert settings.ranker.batch == 64
    by_settings = resolve(
        Selection(method="sft", dataset="toy", ranker="less-popular", settings={"ranker.weight": "0.5"}),
        example.root.path,
    )
    assert by_settings.llm == run.resolved.llm
    assert run.spec.fit.id == example.plan("sft")[0].spec.fit.id  # how it is ranked is no part of a fit
    assert "my_extensions" not in sys.modules


@pytest.mark.parametrize(
    ("selection", "what", "fix"),
    [
        ({"ranker": "les-popular"}, "did you mean 'less-popular'", "recbench list rankers"),
        ({"ranker": "less-popular:wait=1"}, "did you mean 'weight'", ""),
        ({"ranker": "less-popular:weight=-1"}, "is not at least 0", ""),
        (
            {"settings": {"identifiers.source": "place-digit"}},
            "did you mean 'place-digits'",
            "recbench list identifiers",
        ),
        ({"settings": {"identifiers.source": "place-digits:shufled=1"}}, "did you mean 'shuffled'", ""),
        ({"settings": {"identifiers.source": "rq-vae:epochs=3"}}, "takes no parameters", "identifiers.KEY"),
    ],
)
def test_names_and_values_that_nobody_brings_are_refused(
    example: World, selection: dict[str, Any], what: str, fix: str
) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        resolve(Selection(method="sft", dataset="toy", **selection), example.root.path)
    assert fix in caught.value.fix


@pytest.mark.usefixtures("example")
def test_the_examples_codes_are_places_in_digits() -> None:
    scheme: Any = points.load("identifier", "place-digits")()
    data = SimpleNamespace(catalogue=SimpleNamespace(popularity=np.array([3, 1, 2, 9])), num_items=4)
    # by popularity the items have the places 1, 3, 2 and 0
    assert scheme.codes(data, levels=2, codes=2, seed=0).tolist() == [[0, 1], [1, 1], [1, 0], [0, 0]]


@pytest.mark.usefixtures("world")
def test_codes_that_are_none_are_the_schemes_fault(package: Package) -> None:
    from recbench.llm.items.identifiers import make_identifiers

    bodies = {
        "short": "np.zeros((3, 2), dtype=int)",
        "real": "np.zeros((data.num_items, 2))",
        "deep": "np.zeros((data.num_items, 17), dtype=int)",
        "below": "np.full((data.num_items, 2), -1)",
        "flat": "np.zeros(data.num_items, dtype=int)",
        "failing": "1 / 0",
        "sound": "np.arange(data.num_items)[:, None] % (codes, 3)",
    }
    head, _, tail = SCHEME.partition("@dataclass")
    classes = [
        f"@dataclass{tail}".replace("Codes", name.title()).replace("BODY", body)
        for name, body in bodies.items()
    ]
    lines = "".join(f"{name} = lantern:{name.title()}\n" for name in bodies)
    package("lantern", f"[recbench.identifiers]\n{lines}", "\n\n".join([head, *classes]))
    data = toy_data()
    for name in bodies:
        settings = IdentifierSettings(source=name, codes=7, collisions="share")
        if name == "sound":
            made = make_identifiers(data, settings)
            assert made.codes[8].tolist() == [1, 2]
            assert made.facts["source"] == "sound"
            continue
        with pytest.raises(UnusablePluginError, match=f"identifier scheme '{name}' of lantern") as caught:
            make_identifiers(data, settings)
        assert ("ZeroDivisionError" if name == "failing" else "for 30 items") in caught.value.why


@pytest.mark.usefixtures("example")
def test_the_examples_ranker_weighs_popularity_against_likelihood() -> None:
    ranker: Any = points.load("ranker", "less-popular")(weight=1.0, pool=3)
    found = SimpleNamespace(items=np.array([[2, 0, 1]]), scores=np.array([[-1.0, -1.5, -2.0]]))
    data = SimpleNamespace(catalogue=SimpleNamespace(popularity=np.array([0, 1, 7])), num_items=3)
    ranking = ranker.rank(SimpleNamespace(exact=lambda _k: found, data=data, k=2))
    # -1 - log 8, -1.5 - log 1 and -2 - log 2
    assert ranking.items.tolist() == [[0, 1]]
    assert ranking.scores[0].tolist() == pytest.approx([-1.5, -2.0 - np.log(2)])


def test_no_ranker_of_another_package_certifies(example: World, package: Package) -> None:
    from recbench.llm.decoding.outside import rank_outside

    source = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recbench.ranking import Ranking


@dataclass(kw_only=True)
class Sure:
    version: ClassVar[int] = 1

    def rank(self, task):
        return Ranking(items=np.array([[0, 1]]), certified=np.array([True]))
"""
    package("lantern", "[recbench.rankers]\nsure = lantern:Sure\n", source)
    (run,) = example.plan("sft", ranker="sure")
    assert run.resolved.llm is not None
    ranker = run.resolved.llm.ranker
    assert isinstance(ranker, OutsideRanker)
    assert rank_outside(ranker, task=None).certified is None  # type: ignore[arg-type]  # it asks for nothing
    assert run.spec.ranker is not None
    assert run.spec.ranker["name"] not in RANKERS


def test_a_block_of_recbenchs_own_has_no_owner(world: World) -> None:
    (run,) = world.plan("sft")
    block = block_of(as_bundle(run))
    assert block is not None
    assert "distribution" not in "".join(block.values())


def test_a_study_knows_its_runs_without_the_packages_that_made_them(
    example: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"identifiers.source": "place-digits:shuffled=true"}
    ranker = "less-popular:weight=0.5"
    (run,) = example.plan("sft", settings=asked, ranker=ranker)
    made: Any = SimpleNamespace(
        spec=run.spec, status="complete", manifest=SimpleNamespace(params=run.resolved.changed)
    )
    monkeypatch.setattr(sys, "path", [part for part in sys.path if "example-site" not in part])
    assert "less-popular" not in points.outside("ranker")

    def study(**more: Any) -> Any:
        wanted = Selection(method="sft", dataset="toy", **{"settings": asked, "ranker": ranker, **more})
        names: Any = {"methods": ("sft",), "backbones": ("tiny",), "paradigms": ("semantic-id",)}
        return SimpleNamespace(selections=lambda: [wanted], **names)

    assert missing(study(), [made]) == []
    assert members(study(), [made]) == [made]
    others: list[dict[str, Any]] = [
        {"ranker": "less-popular:weight=0.6"},
        {"ranker": "more-popular"},
        {"ranker": None},
        {"settings": {"identifiers.source": "place-digits:shuffled=false"}},
        {"settings": {}},
    ]
    for other in others:
        assert len(missing(study(**other), [made])) == 1, other
