"""Which runs a study's board is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recbench.base import params
from recbench.board import build
from recbench.comparison import significance
from recbench.errors import DataError, UsageError
from recbench.planning.resolve import Selection, llm_settings, split_settings
from recbench.planning.study import Study, parse, read
from recbench.planning.study_runs import members, missing
from recbench.results.bundle import Bundle
from recbench.results.llm_record import identity_of, ranker_record

MakeBundle = Callable[..., Bundle]
STUDY = Study(name="mine", methods=("popularity", "sft", "dpo:beta=0.5"), datasets=("toy",), seeds=(0, 1))
PLAIN: dict[str, Any] = {"name": "mine", "methods": ("sft",), "datasets": ("toy",), "seeds": (0,)}


@pytest.fixture
def finished(make_bundle: MakeBundle) -> Callable[..., Bundle]:
    """A run as the driver would leave it of this selection; `changed` is what differs from the defaults."""

    def make(
        method: str, *, changed: dict[str, Any] | None = None, parent: str | None = None, **more: Any
    ) -> Bundle:
        wanted = Selection(method=method, dataset="toy", **more)
        engine = llm_settings(wanted, split_settings(wanted.settings), preset={}, own={})
        llm = {
            "backbone": engine.backbone,
            "paradigm": engine.paradigm,
            "train": identity_of(engine.train),
            "identifiers": params.resolved(engine.identifiers),
        }
        return make_bundle(
            method,
            [1, 0, 2],
            seed=wanted.seed,
            llm=llm,
            ranker=ranker_record(engine.ranker),
            parent=parent,
            beta=(changed or {}).get("beta", 0.1),
            params=changed or {},
        )

    return make


def test_the_runs_of_the_matrix_are_members_and_no_others(
    finished: Callable[..., Bundle], make_bundle: MakeBundle
) -> None:
    own = [
        make_bundle("popularity", [1, 0, 2], seed=None),
        finished("sft"),
        finished("sft", seed=1),
        finished("dpo", changed={"beta": 0.5}),
        make_bundle("sft", [], failure={"class": "oom", "reason": "needed 80 GiB"}, seed=None),
    ]
    others = [
        finished("sft", seed=2),
        finished("sft", backbone="qwen2-0.5b"),
        finished("sft", paradigm="title"),
        finished("sft", ranker="beam"),
        finished("sft", regime="equal-tokens"),
        finished("sft", settings={"identifiers.codes": "64"}),
        finished("sft", settings={"train.epochs": "1"}, changed={"train.epochs": 1.0}),
        finished("dpo"),
        finished("sdpo"),
        make_bundle("popularity", [1, 0, 2], seed=None, dataset="toys"),
        make_bundle("popularity", [1, 0, 2], seed=None, phase="valid"),
    ]
    # the failed run has no language model here, so that nothing but its name and data are asked for
    assert [one.id for one in members(STUDY, [*own, *others])] == [one.id for one in own]


def test_settings_of_the_study_are_asked_of_language_models_alone(
    finished: Callable[..., Bundle], make_bundle: MakeBundle
) -> None:
    study = replace(STUDY, settings={"train.epochs": "1"})
    own = [
        make_bundle("popularity", [1, 0, 2], seed=None),
        finished("sft", settings={"train.epochs": "1"}, changed={"train.epochs": 1.0}),
    ]
    assert members(study, [*own, finished("sft")]) == own


def test_what_a_run_started_from_comes_with_it(finished: Callable[..., Bundle]) -> None:
    study = replace(STUDY, methods=("dpo:beta=0.5",))
    sft, stranger = finished("sft"), finished("sft", seed=1)
    child = finished("dpo", changed={"beta": 0.5}, parent=sft.spec.fit.id)
    assert members(study, [sft, stranger, child]) == [sft, child]


def test_what_has_not_finished_is_named(finished: Callable[..., Bundle], make_bundle: MakeBundle) -> None:
    runs = [make_bundle("popularity", [1, 0, 2], seed=None), finished("sft", seed=1)]
    assert missing(STUDY, runs) == [
        "sft on toy, seed 0",
        "dpo:beta=0.5 on toy, seed 0",
        "dpo:beta=0.5 on toy, seed 1",
    ]
    several = replace(STUDY, methods=("sft",), seeds=(0,), paradigms=("semantic-id", "title"))
    assert missing(several, []) == ["sft on toy, semantic-id, seed 0", "sft on toy, title, seed 0"]


def test_all_pairs_can_be_the_family(make_bundle: MakeBundle) -> None:
    ranks = {"popularity": [0, 0, 3, 0, 1, 0], "itemknn": [1, 1, 3, 0, 1, 2], "ease": [1, 2, 3, 0, 0, 1]}
    runs = [make_bundle(name, found, seed=None) for name, found in ranks.items()]
    [declared] = build.build(runs).tables
    [whole] = build.build(runs, pairs="all").tables
    assert (declared.num_tests, whole.num_tests) == (2, 3)
    values = [run.per_request("ndcg@10") for run in runs]
    p = [significance.paired_t(values[a] - values[b]).p for a, b in ((1, 0), (2, 0), (1, 2))]
    adjusted = significance.holm(p)
    rows = {row.name: row for row in whole.rows}
    assert rows["itemknn"].vs["popularity"].p_holm == pytest.approx(adjusted[0])
    assert rows["ease"].vs["popularity"].p_holm == pytest.approx(adjusted[1])


def test_a_study_that_excludes_every_run_is_refused() -> None:
    table = {"methods": ["sft"], "datasets": ["toy"], "exclude": [{"method": "sft"}]}
    with pytest.raises(UsageError, match="the study has no runs"):
        parse(table, name="mine")


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "seeds = " + "9" * 5000, "a = \xff"])
def test_a_study_that_toml_cannot_read_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"study\.toml is not valid TOML"):
        read(tmp_path / "study.toml")


def test_a_study_of_one_task_has_no_run_of_several(finished: Callable[..., Bundle]) -> None:
    one, six = Study(**PLAIN), Study(**PLAIN, settings={"train.tasks": "lc-rec"})
    asked = Study(**PLAIN, settings={"train.tasks": "next-item"})
    runs = [
        finished("sft"),
        finished("sft", changed={"train.tasks": "lc-rec"}, settings={"train.tasks": "lc-rec"}),
    ]
    assert members(one, runs) == members(asked, runs) == runs[:1]
    assert members(six, runs) == runs[1:]
