"""Everything that has a name can be listed and shown, and no name hides another."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest

from recbench.base.root import DEFAULTS
from recbench.cli.reference.entry import text_of
from recbench.planning.description import describe, of_distribution
from recbench.reference import methods, names, settings
from recbench.reference.entry import links_in
from recbench.results import list_measures, metrics
from recbench.results.exposure.groups import Groups
from recbench.results.exposure.measures import ItemFacts, Tally, measures
from recbench.settings import TrainSettings
from tests.conftest import World
from tests.test_imports import HEAVY, command, loaded_after


def test_every_first_party_parameter_and_setting_says_what_it_means() -> None:
    silent = [
        f"{plugin.name}:{one.name}"
        for plugin in of_distribution(describe("sft").distribution)
        for one in plugin.details
        if not one.meaning
    ]
    assert silent == []
    assert [one["name"] for one in settings.rows() if not one["about"]] == []


def test_every_preset_of_a_paper_says_where_it_comes_from() -> None:
    of_papers = {
        plugin.name: plugin.notes.get("presets", "")
        for plugin in of_distribution(describe("sft").distribution)
        if {key.partition("+")[0] for key in plugin.traits.presets} - {"scratch", "pretrained"}
    }
    assert len(of_papers) > 5
    assert [name for name, origin in of_papers.items() if not origin] == []


def test_a_list_of_settings_asks_no_method() -> None:
    assert loaded_after(command("list", "settings"), ("recbench_methods",)) == []
    assert loaded_after(command("show", "train.lr"), ("recbench_methods",)) == ["recbench_methods"]


def test_a_methods_entry_has_paper_parameters_tried_values_and_presets() -> None:
    entry = methods.entry("sdpo")
    assert entry.links == ["https://arxiv.org/abs/2406.09215"]
    beta = next(one for one in entry.parameters if one.name == "beta")
    assert (beta.type, beta.allowed, beta.default) == ("number", "at least 0", 1.0)
    assert entry.tried["beta"] == [0.1, 0.5, 1.0]
    assert {one.name: one.values for one in entry.presets}["official"] == {"beta": 1.0, "num_negatives": 3}
    assert "softmax_dpo.sh" in entry.origins["presets"]
    assert "A reconstruction" not in entry.about
    assert "Verified are a pairwise objective" in methods.entry("rosepo").about


def test_no_heading_of_an_entry_stands_over_nothing() -> None:
    assert "tried by recbench tune\n  train.lr: " in text_of(methods.entry("sdpo"), 100)
    knn = text_of(methods.entry("itemknn"), 100)  # what is tried stands beside each parameter
    assert "default 0.4; tried 0.2, 0.4" in knn
    assert "tried by recbench tune" not in knn


def test_links_are_those_that_a_text_names_in_its_order() -> None:
    text = "https://example.org/a), arXiv 2406.09215 (code an-Owner/Repo.py), doi 10.1145/3640457.3688118; "
    text += "arXiv 2406.09215."
    assert links_in(text) == [
        "https://example.org/a",
        "https://arxiv.org/abs/2406.09215",
        "https://github.com/an-Owner/Repo.py",
        "https://doi.org/10.1145/3640457.3688118",
    ]


def test_settings_are_those_of_the_code() -> None:
    known = settings.names()
    assert {f"train.{field.name}" for field in fields(TrainSettings)} <= set(known)
    assert set(DEFAULTS) == set(settings.OF_ROOT) <= set(known)
    owners = [one.facts["of"] for one in settings.entries("ranker.width")]
    assert owners == ["ranker exact", "ranker beam", "ranker ground"]
    rate = settings.entries("train.lr")[0].facts
    assert rate["defaults elsewhere"] == {"tiny": 3e-3, "small": 1e-3, "pretrained+hybrid": 7e-4}
    assert rate["changed by methods"]["soft"] == "pretrained: 0.0001"


def test_metrics_are_those_that_are_computed() -> None:
    from recbench.reference.terms import GAINS, MEASURES, OF_EXPOSURE

    assert set(GAINS) == {*metrics.GAINS, *metrics.ALIASES}
    source = list_measures.summary.__code__.co_consts
    assert all(any(f"{name}@" in str(part) for part in source) for name in MEASURES)
    one_item = np.zeros(1, dtype=np.int64)
    group = Groups(one_item, one_item, np.ones(1), 1, 1)
    facts = ItemFacts(size=1, category=group, popularity=group, words=group, titles=group)
    tally = Tally(np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)), np.zeros(1), np.ones(1))
    assert set(measures(tally, facts)) == set(OF_EXPOSURE)


@pytest.mark.parametrize("what", [*names.LISTS, "runs"])
def test_every_kind_is_listed(world: World, what: str) -> None:
    done = world.recbench("list", what, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert bool(rows) == (what != "runs")
    assert world.recbench("list", what).returncode == 0


def test_a_name_with_several_meanings_shows_all_of_them(world: World) -> None:
    both = json.loads(world.recbench("show", "soft", "--json").stdout)
    assert [one["kind"] for one in both] == ["method", "protocol"]
    one = json.loads(world.recbench("show", "soft", "--kind", "protocol", "--json").stdout)
    assert (one["kind"], one["facts"]["exclude_seen"]) == ("protocol", True)
    text = world.recbench("show", "soft").stdout
    assert "method soft\n" in text
    assert "protocol soft\n" in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ilrec", "A token is a negative if its ensemble probability"),
        ("train.lr", "pretrained: 1e-05"),
        ("exact", "one of vocab, children; default vocab"),
        ("ndcg@10", "1 / log2(rank + 1)"),
        ("tiny", "trained from its initialisation"),
        ("title", "BIGRec"),
        ("guard", "one of landlock, audit, off; default landlock"),
        ("toy", "Made-up log"),
        ("noise", "toy-methods"),
        ("diversity", "Intra-list diversity"),
    ],
)
def test_show_says_what_a_name_is(world: World, name: str, said: str) -> None:
    done = world.recbench("show", name)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert "0.0000" not in done.stdout


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("words", [("show", "noise"), ("show", "train.lr"), ("list", "methods")])
def test_a_third_partys_method_is_described_and_not_imported(words: tuple[str, ...]) -> None:
    assert loaded_after(command(*words), ("toy_methods", *HEAVY)) == []


def test_an_unknown_name_gets_the_nearest_one(world: World) -> None:
    done = world.recbench("show", "train.lrr")
    assert done.returncode == 2
    assert "did you mean 'train.lr'?" in done.stderr
    assert world.recbench("show", "ndcg@x").returncode == 2
    assert world.recbench("show", "sdpo", "--kind", "ranker").returncode == 2
