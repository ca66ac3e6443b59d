"""`train.tasks`: part of a run's identity and its label, refused by name where it cannot be."""

from __future__ import annotations

import csv
import gzip
from dataclasses import replace
from typing import Any

import pytest

from recbench.comparison.block import block_of
from recbench.dataset.split import PreparedSplit
from recbench.errors import DataError, UsageError
from recbench.planning.forecast import forecast
from recbench.planning.recipes import unfed_tasks
from recbench.planning.resolve import Resolved, Selection, rebuild_llm_settings, resolve
from tests.conftest import World
from tests.unit.conftest import MakeBundle, MakeSplit

DIGESTS = {"split": "s" * 64, "catalogue": "c" * 64}
SIX = {"train.tasks": "lc-rec"}


def resolved(method: str, **more: Any) -> Resolved:
    return resolve(Selection(method=method, dataset="ml-100k", **more))


def test_a_single_task_leaves_identities_as_they_were() -> None:
    spec = resolved("sft").spec(DIGESTS)
    assert "tasks" not in (spec.fit.llm or {})["train"]
    assert resolved("sft", settings={"train.tasks": "next-item"}).spec(DIGESTS).id == spec.id
    assert resolved("sft").label == "sft"


def test_several_tasks_are_another_fit_by_setting_and_by_prompt() -> None:
    one, six = resolved("sft"), resolved("sft", settings=SIX)
    fits = [run.spec(DIGESTS).fit.llm or {} for run in (one, six)]
    assert six.label == "sft[train.tasks=lc-rec]"
    assert fits[1]["train"]["tasks"] == "lc-rec"
    assert fits[0]["prompt"] != fits[1]["prompt"]
    settings = rebuild_llm_settings(six.spec(DIGESTS))
    assert settings is not None
    assert settings.train.tasks == "lc-rec"


def test_the_parent_of_a_preference_method_has_the_tasks(world: World) -> None:
    parent, child = world.plan("dpo", settings=SIX)
    assert (parent.label, child.label) == ("sft[train.tasks=lc-rec]", "dpo[train.tasks=lc-rec]")
    assert child.spec.fit.parent == parent.spec.fit.id


def test_the_control_has_the_tasks_of_its_board() -> None:
    assert resolved("sft-continued", settings=SIX).label == "sft-continued[train.tasks=lc-rec]"


def test_lc_recs_official_recipe_tunes_all_weights_on_six_tasks() -> None:
    run = resolved("sft:preset=official", backbone="llama-3.1-8b")
    assert run.llm is not None
    train = run.llm.train
    assert (train.tasks, train.lora_rank, train.lr, train.epochs) == ("lc-rec", 0, 5e-5, 4.0)
    assert "train.lora_rank=0" in run.label
    assert "train.tasks=lc-rec" in run.label
    settings = {"train.tasks": "next-item"}
    assert "tasks" not in resolved("sft:preset=official", backbone="llama-3.1-8b", settings=settings).label


def test_a_block_says_which_tasks_it_has(make_bundle: MakeBundle) -> None:
    def training(**train: object) -> str:
        llm = {"paradigm": "semantic-id", "backbone": "tiny", "train": {"pack": "none", **train}}
        block = block_of(make_bundle("sft", [1, 2], llm=llm, label=str(train)))
        assert block is not None
        return block["training"]

    assert training(tasks="lc-rec") == "pack=none, tasks=lc-rec"
    assert training() == "pack=none"


def test_tasks_that_only_one_method_has_are_refused() -> None:
    with pytest.raises(UsageError, match=r"'sdpo' has train\.tasks=lc-rec, and the sft that it needs next-i"):
        resolved("sdpo:train.tasks=lc-rec")


def test_a_method_that_would_ignore_the_tasks_is_refused_by_name() -> None:
    for method in ("soft", "zero-shot"):
        with pytest.raises(UsageError, match=rf"'{method}' does not train on train\.tasks=lc-rec"):
            resolved(method, settings=SIX)


@pytest.mark.parametrize("paradigm", ["title", "hybrid"])
def test_a_paradigm_without_codes_is_refused(paradigm: str) -> None:
    with pytest.raises(UsageError, match=r"train\.tasks=lc-rec goes with semantic ids"):
        resolved("sft", paradigm=paradigm, settings=SIX)


def test_an_unknown_task_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="'p5' is not one of next-item, lc-rec, lc-rec-titles"):
        resolved("sft", settings={"train.tasks": "p5"})


@pytest.fixture
def planted(make_split: MakeSplit) -> PreparedSplit:
    return make_split()


@pytest.mark.parametrize(
    ("tasks", "absent", "said", "fix"),
    [
        ("lc-rec", "items_with_title", "no item has a title", "next-item"),
        ("lc-rec-titles", "items_with_title", "no item has a title", "next-item"),
        ("lc-rec", "items_with_categories", "no item has categories", "lc-rec-titles"),
    ],
)
def test_a_dataset_that_cannot_feed_the_tasks_is_refused_by_name(
    planted: PreparedSplit, tasks: str, absent: str, said: str, fix: str
) -> None:
    llm = resolved("sft", settings={"train.tasks": tasks}).llm
    assert unfed_tasks(llm, planted) is None
    changes: dict[str, Any] = {absent: 0}
    without = replace(planted, statistics=replace(planted.statistics, **changes))
    error = unfed_tasks(llm, without)
    assert isinstance(error, DataError)
    assert str(error.args[0]) == f"dataset 'synthetic' cannot feed train.tasks={tasks}"
    assert said in error.why
    assert error.fix == f"--set train.tasks={fix}"


def test_categories_are_not_missed_where_titles_are_enough(planted: PreparedSplit) -> None:
    llm = resolved("sft", settings={"train.tasks": "lc-rec-titles"}).llm
    without = replace(planted, statistics=replace(planted.statistics, items_with_categories=0))
    assert unfed_tasks(llm, without) is None


def test_a_plan_and_a_forecast_refuse_a_dataset_without_titles(world: World) -> None:
    items = world.root.path / "raw" / "toy" / "items.csv.gz"
    with gzip.open(items, "rt") as stream:
        rows = list(csv.DictReader(stream))
    with gzip.open(items, "wt") as stream:
        stream.write("item_id,title,categories\n" + "".join(f"{row['item_id']},,x\n" for row in rows))
    assert [run.label for run in world.plan("sft")] == ["sft"]
    with pytest.raises(DataError, match=r"dataset 'toy' cannot feed train\.tasks=lc-rec"):
        world.plan("sft", settings=SIX)
    (found,) = forecast([Selection(method="sft", dataset="toy", settings=SIX)], world.root)
    assert found.state == "blocked"
    assert found.why == "dataset 'toy' cannot feed train.tasks=lc-rec"
    assert found.fix == "--set train.tasks=next-item"
