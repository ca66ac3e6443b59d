from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recbench.errors import MissingError, UsageError
from recbench.planning.resolve import Selection, rebuild_llm_settings, resolve
from recbench.results.spec import RunSpec
from recbench.settings import BeamRanker, ExactRanker, IdentifierSettings, LLMSettings, for_backbone
from tests.unit.planning.test_registry import distribution

pytestmark = pytest.mark.usefixtures("world")
DIGESTS = {"split": "s" * 64, "catalogue": "c" * 64}


def spec(method: str, **more: Any) -> RunSpec:
    return resolve(Selection(method=method, dataset="toy", **more)).spec(DIGESTS)


def llm(**more: Any) -> LLMSettings:
    settings = resolve(Selection(method="speaker", dataset="toy", **more)).llm
    assert settings is not None
    return settings


def test_a_scorer_has_one_fit_for_all_backbones_and_rankers() -> None:
    one = spec("noise")
    assert (one.fit.llm, one.ranker) == (None, None)
    assert one.id == spec("noise", backbone="qwen2-0.5b", ranker="beam").id


def test_a_method_without_chance_has_one_fit_for_all_seeds() -> None:
    assert spec("counts", seed=3).fit.seed is None
    assert spec("counts", seed=3).id == spec("counts", seed=4).id
    assert spec("noise", seed=3).fit.id != spec("noise", seed=4).fit.id


def test_values_are_typed_so_that_one_and_one_point_zero_are_the_same_run() -> None:
    assert spec("noise:beta=1").id == spec("noise[beta=1.0]").id
    assert spec("noise:beta=0.1").id == spec("noise").id


def test_the_label_names_what_differs_from_the_defaults() -> None:
    def label(method: str, **more: Any) -> str:
        return resolve(Selection(method=method, dataset="toy", **more)).label

    assert label("noise") == label("noise:beta=0.1") == "noise"
    assert label("noise:beta=0.3") == "noise[beta=0.3]"
    assert label("speaker") == label("speaker", settings={"train.epochs": "2"}) == "speaker"
    settings = {"train.lr": "0.5", "train.epochs": "4"}
    assert label("speaker:temperature=2", settings=settings) == (
        "speaker[temperature=2.0,train.epochs=4.0,train.lr=0.5]"
    )


def test_train_settings_come_from_the_class_then_the_preset_then_the_user() -> None:
    assert (llm().train.batch, llm().train.epochs, llm().train.lr) == (16, 2.0, 3e-3)
    assert llm(settings={"train.epochs": "7"}).train.epochs == 7.0
    pretrained = llm(backbone="qwen2-0.5b").train
    assert (pretrained.epochs, pretrained.lora_rank) == (5.0, 8)


def test_identifiers_and_ranker_take_the_users_settings() -> None:
    settings = {"identifiers.codes": "32", "ranker.budget": "500"}
    assert llm(settings=settings).identifiers == IdentifierSettings(levels=3, codes=32)
    assert llm(settings=settings).ranker == ExactRanker(budget=500)
    assert llm(ranker="beam[width=10]").ranker == BeamRanker(width=10)


def test_a_ranker_changes_the_run_and_not_the_fit() -> None:
    assert spec("speaker").fit.id == spec("speaker", ranker="beam").fit.id
    assert spec("speaker").id != spec("speaker", ranker="beam").id


def test_the_rule_that_selects_is_part_of_the_fit_and_so_is_the_ranker_that_it_asks() -> None:
    last, best = ({"settings": {"train.select": rule}} for rule in ("last", "best"))
    assert spec("speaker").fit.id == spec("speaker", **last).fit.id
    assert spec("speaker", **last).fit.id != spec("speaker", **best).fit.id
    assert spec("speaker", **best).fit.id != spec("speaker", ranker="beam", **best).fit.id
    patient = {"settings": {"train.select": "best", "train.patience": "2"}}
    assert spec("speaker", **best).fit.id != spec("speaker", **patient).fit.id
    facts = spec("speaker", ranker="beam:width=7", **best).fit.llm
    assert facts is not None
    assert facts["selected_by"] == {"name": "beam", "width": 7, "batch": 64}


def test_a_backbone_has_one_name() -> None:
    assert spec("speaker", backbone="Qwen/Qwen2-0.5B").id == spec("speaker", backbone="qwen2-0.5b").id


def test_a_backbone_is_a_short_name_a_hub_id_or_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for name in ("tiny", "small", "llama-3.2-1b", "owner/model", "mine", str(tmp_path / "mine")):
        assert llm(backbone=name).backbone == name
    with pytest.raises(UsageError, match=r"no backbone 'qwen-0\.5b'; did you mean 'qwen2-0\.5b'"):
        llm(backbone="qwen-0.5b")
    for no_id in ("one/two/three", "./no/folder", "owner/", "owner/a..b", "owner/a--b"):
        with pytest.raises(UsageError, match="no backbone"):
            llm(backbone=no_id)


def test_titles_are_part_of_a_language_models_fit_alone() -> None:
    other = {**DIGESTS, "catalogue": "d" * 64}
    for method, same in (("speaker", False), ("noise", True)):
        resolved = resolve(Selection(method=method, dataset="toy"))
        assert (resolved.spec(DIGESTS).fit.id == resolved.spec(other).fit.id) is same


def test_the_worker_gets_back_the_settings_that_were_resolved() -> None:
    settings = {"train.pack": "user", "identifiers.levels": "2"}
    for ranker in ("exact", "beam:width=7"):
        one = resolve(Selection(method="speaker", dataset="toy", ranker=ranker, settings=settings))
        assert rebuild_llm_settings(RunSpec.from_json(one.spec(DIGESTS).to_json())) == one.llm
    assert rebuild_llm_settings(spec("noise")) is None


def test_every_fact_that_the_plugin_names_identifies_the_fit() -> None:
    facts = spec("speaker").fit.llm
    assert facts is not None
    assert facts["engine"] == 1
    train = dataclasses.asdict(llm().train)
    assert train.pop("tasks") == "next-item"  # a single task is not mentioned, as in fits from before
    assert facts["train"] == train


@pytest.mark.parametrize(
    ("method", "more", "said"),
    [
        ("nois", {}, "did you mean 'noise'"),
        ("noise:bta=1", {}, "did you mean 'beta'"),
        ("noise:beta=x", {}, "is not a finite number"),
        ("speaker", {"protocol": "ilrek"}, "did you mean 'ilrec'"),
        ("speaker", {"backbone": "tinny"}, "did you mean 'tiny'"),
        ("speaker", {"paradigm": "titel"}, "--paradigm = 'titel' is not one of"),
        ("speaker", {"ranker": "exakt"}, "did you mean 'exact'"),
        ("speaker", {"ranker": "exact:budgt=1"}, "did you mean 'budget'"),
        ("speaker", {"settings": {"trian.lr": "1"}}, "did you mean 'train'"),
        ("speaker", {"settings": {"train.epoch": "1"}}, "did you mean 'epochs'"),
        ("speaker", {"settings": {"lr": "1"}}, "does not say whose setting it is"),
        ("speaker", {"settings": {"train.epochs": "-1"}}, "epochs = -1.0 is not above 0"),
        ("speaker", {"settings": {"train.patience": "2"}}, "patience goes with select=best"),
        (
            "speaker",
            {"ranker": "exact:budget=1", "settings": {"ranker.budget": "2"}},
            "by --ranker and",
        ),
        ("noise", {"settings": {"train.epoch": "1"}}, "did you mean 'epochs'"),
        ("noise", {"limit_users": 0}, "leaves nobody"),
    ],
)
def test_what_does_not_exist_is_refused(method: str, more: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(Selection(method=method, dataset="toy", **more))
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_selection_is_the_same_whatever_the_order_of_its_settings() -> None:
    settings = {"train.lr": "1", "ranker.budget": "9"}
    one = Selection(method="sft", dataset="toy", settings=settings)
    other = Selection(method="sft", dataset="toy", settings=dict(reversed(settings.items())))
    assert one == other
    assert len({one, other, replace(one, seed=1), replace(one, settings={"train.lr": "1"})}) == 3


def test_a_preset_of_a_backbone_comes_before_that_of_its_class() -> None:
    presets = {"scratch": 1, "small": 2, "pretrained": 3}
    found = {name: for_backbone(presets, name, 0) for name in ("tiny", "small", "owner/model")}
    assert found == {"tiny": 1, "small": 2, "owner/model": 3}
    assert for_backbone({"small": 2}, "tiny", 0) == 0
    # the toy's own preset is for `tiny` by name, and must not reach `small`
    assert llm(backbone="tiny").train.epochs == 2.0 != llm(backbone="small").train.epochs


@pytest.mark.parametrize("backbone", ["tiny", "llama-3.2-3b"])
def test_soft_and_its_sft_train_as_long_under_the_papers_protocol(backbone: str) -> None:
    """The paper: up to seven epochs for every method that trains a language model."""
    for method in ("sft", "soft", "soft:adaptive=false"):
        resolved = resolve(Selection(method=method, dataset="soft-game", protocol="soft", backbone=backbone))
        assert resolved.llm is not None
        assert resolved.llm.train.epochs == 7.0


PICKY = """
from dataclasses import dataclass
from typing import ClassVar

from toy_methods.language import Speaker


@dataclass(kw_only=True)
class Picky(Speaker):
    rankers: ClassVar[tuple[str, ...]] = ("beam", "exact")


@dataclass(kw_only=True)
class Odd(Speaker):
    rankers: ClassVar[tuple[str, ...]] = ("exactly",)
"""


def test_a_method_names_the_rankers_that_it_works_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = distribution(tmp_path / "picky", "picky", "picky = picky:Picky\nodd = picky:Odd")
    (place / "picky.py").write_text(PICKY)
    monkeypatch.syspath_prepend(str(place))

    def ranker(**more: Any) -> str:
        return str((spec("picky", **more).ranker or {})["engine"]["name"])

    assert ranker(paradigm="semantic-id") == "exact"  # the paradigm's own
    assert ranker(paradigm="title") == "beam"  # which is `ground`, so the method's first
    assert ranker(ranker="beam:width=7") == "beam"
    with pytest.raises(UsageError, match="'picky' does not work with the ranker 'ground'") as caught:
        ranker(paradigm="title", ranker="ground")
    assert "rankers = ('beam', 'exact')" in caught.value.why
    assert caught.value.fix == "--ranker beam"
    with pytest.raises(MissingError, match="method 'odd' of picky cannot be used") as wrong:
        spec("odd")
    assert "has to be a tuple of names among exact, beam, ground" in wrong.value.why
