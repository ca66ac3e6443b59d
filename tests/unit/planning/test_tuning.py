"""Points of a method's space, drawn without repeats, and the ledger that keeps what was tried."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from recbench.base import params
from recbench.base.root import Root
from recbench.errors import DataError, UsageError
from recbench.planning import registry, tuning
from recbench.planning.resolve import Selection, resolve
from recbench.protocol import PRIMARY_METRIC
from recbench.settings import TrainSettings

FIRST_PARTY = [
    name
    for name, point in registry.available().items()
    if point.value.startswith("recbench_methods.") and name not in ("popularity", "zero-shot")
]


def selected(method: str, **more: Any) -> Selection:
    return Selection(method=method, dataset="ml-100k", **more)


def values(method: str, count: int, **more: Any) -> list[dict[str, str]]:
    (trials,) = tuning.draw([selected(method, **more)], count)
    return [dict(trial.values) for trial in trials]


def test_the_first_trial_is_the_method_as_it_was_named() -> None:
    (trials,) = tuning.draw([selected("itemknn:shrink=3")], 4)
    assert trials[0].values == {}
    assert trials[0].resolved.params == {"neighbours": 50, "shrink": 3.0, "decay": 0.4}
    assert all(trial.resolved.selection.phase == "valid" for trial in trials)


def test_what_the_user_sets_is_not_varied() -> None:
    (trials,) = tuning.draw([selected("itemknn:shrink=3")], 20)  # neighbours and decay: 4 x 5 points
    assert {trial.resolved.params["shrink"] for trial in trials} == {3.0}
    assert all("shrink" not in trial.values for trial in trials)


def test_a_whole_space_is_drawn_once_each_with_the_defaults_among_it() -> None:
    (trials,) = tuning.draw([selected("sasrec:dim=64")], 12)  # 4 x 3, the defaults are one of them
    assert len({tuple(trial.resolved.params.values()) for trial in trials}) == 12
    with pytest.raises(UsageError, match="'gru4rec' has 9 points, fewer than 13 trials") as caught:
        tuning.draw([selected("sasrec:dim=64"), selected("gru4rec:hidden_size=64,lr=0.1")], 13)
    assert caught.value.fix.startswith("--trials 9,")


def test_more_trials_continue_the_draw_and_another_seed_tries_the_same_points() -> None:
    assert values("sasrec", 6)[:3] == values("sasrec", 3)
    assert values("sasrec", 3, seed=3) == values("sasrec", 3)
    assert values("sasrec", 3, limit_users=10) == values("sasrec", 3)


def test_a_class_of_backbones_has_values_of_its_own() -> None:
    assert {one["train.lr"] for one in values("dpo", 12)[1:]} == {"1e-05", "3e-05", "0.0001", "0.0003"}
    large = values("dpo", 12, backbone="qwen2-0.5b")[1:]
    assert {one["train.lr"] for one in large} == {"5e-06", "1e-05", "2e-05", "0.0001"}


@pytest.mark.parametrize("name", FIRST_PARTY)
def test_every_value_of_a_first_party_space_is_one_that_its_method_takes(name: str) -> None:
    plugin, given = registry.load(name), {"type": "cdpo"} if name == "pair-loss" else {}
    for backbone in ("tiny", "qwen2-0.5b"):
        asked = ":".join([name, *(f"{key}={value}" for key, value in given.items())])
        space = tuning.space_of(resolve(selected(asked, backbone=backbone)), {})
        assert math.prod(len(set(choices)) for choices in space.values()) >= 8
        for parameter, choices in space.items():
            for value in choices:
                field = parameter.removeprefix("train.")
                built = (
                    plugin.build({**given, field: value})
                    if field == parameter
                    else params.build(TrainSettings, {field: value}, what="train")
                )
                assert str(getattr(built, field)) == str(type(getattr(built, field))(value))


def test_a_method_without_a_space_is_refused_and_told_how_to_declare_one() -> None:
    with pytest.raises(UsageError, match="nothing to tune in 'popularity'") as caught:
        tuning.draw([selected("sasrec"), selected("popularity")], 2)
    assert "space: ClassVar[Space]" in caught.value.fix
    with pytest.raises(UsageError, match="nothing to tune in 'itemknn:") as caught:
        tuning.draw([selected("itemknn:neighbours=5,shrink=0,decay=1")], 2)
    assert caught.value.why == "all that it could vary is set"


def test_the_best_trial_is_the_highest_complete_one_and_a_default_has_to_be_beaten() -> None:
    def trial(number: int, score: float | None) -> dict[str, Any]:
        return {"trial": number, "status": "failed" if score is None else "complete", PRIMARY_METRIC: score}

    chosen = tuning.best([trial(2, 0.5), trial(0, 0.5), trial(3, None), trial(1, 0.4)])
    assert chosen is not None
    assert chosen["trial"] == 0
    assert tuning.best([trial(0, None)]) is None


def test_a_ledger_keeps_earlier_trials_and_one_record_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "tuning" / "a.jsonl"
    tuning.keep(path, [{"run": "a", "status": "failed"}, {"run": "b", "status": "complete"}])
    tuning.keep(path, [{"run": "a", "status": "complete"}])
    assert [(one["run"], one["status"]) for one in tuning.read(path)] == [
        ("a", "complete"),
        ("b", "complete"),
    ]
    assert [file.name for file in path.parent.iterdir()] == ["a.jsonl"]
    path.write_text(json.dumps({"run": "a"}) + "\n[]\n")
    with pytest.raises(DataError, match="line 2 is no trial"):
        tuning.read(path)


def test_a_ledger_belongs_to_a_block_and_a_scorer_has_one_for_all_backbones(tmp_path: Path) -> None:
    root = Root(path=tmp_path)

    def path(method: str, **more: Any) -> Path:
        return tuning.ledger(root, resolve(selected(method, **more)))

    assert path("dpo") == path("dpo:beta=0.5") == path("dpo", phase="valid")
    assert len({path("dpo"), path("dpo", paradigm="title"), path("dpo", seed=1), path("sdpo")}) == 4
    assert path("itemknn") == path("itemknn", paradigm="title")
    assert path("itemknn").parent == tmp_path / "tuning"
