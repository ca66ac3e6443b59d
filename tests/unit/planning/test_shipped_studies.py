"""The studies that the repository ships: whole, and each printed row of its table is one that it runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from recbench.base.params import parse_selection
from recbench.base.root import discover
from recbench.board.paper.published import ANY, NO_METHOD, published
from recbench.planning import study
from recbench.planning.forecast import forecast
from recbench.planning.resolve import resolve
from recbench.planning.study import Study

LEADERBOARDS = Path(__file__).parents[3] / "leaderboards"
TABLES = ["ilrec-table1", "soft-table2"]


def shipped(name: str) -> Study:
    return study.read(LEADERBOARDS / name / "study.toml")


@pytest.mark.parametrize("name", TABLES)
def test_a_papers_study_runs_every_row_that_can_be_run(name: str) -> None:
    table, found = published(name), shipped(name)
    assert found.protocol == table.protocol
    assert found.backbones == (table.backbone,)
    chosen = [resolve(one) for one in found.selections() if one.seed == 0]
    for row in table.rows:
        if row.method in table.printed_only:
            continue
        wanted, free = table.params_of(row), table.free_in(row)
        fitting = [
            one
            for one in chosen
            if (one.plugin.name, one.selection.dataset) == (row.method, row.dataset)
            and row.paradigm in (ANY, NO_METHOD, one.selection.paradigm)
            and all(one.params[key] == value for key, value in wanted.items())
            and set(one.changed) <= free
        ]
        assert fitting, row


# by hand, of 3 sets and 5 seeds: soft-table2 has popularity without seeds, sasrec and dros,
# dllm2rec in one paradigm, 5 rows of language models in two: 3 + 3 * 15 + 5 * 30. ilrec-table1 has
# popularity, 6 sequential rows, and in two paradigms sft, its control, four rivals and an ilrec
@pytest.mark.parametrize(("name", "count"), [("soft-table2", 198), ("ilrec-table1", 3 + 6 * 15 + 7 * 30)])
def test_a_plan_of_a_papers_study_has_each_run_once(name: str, count: int, tmp_path: Path) -> None:
    runs = forecast(shipped(name).selections(), discover(cwd=tmp_path), offline=True)
    assert len(runs) == len({run.name for run in runs}) == count


def test_the_study_of_table_one_has_the_papers_values_for_each_set() -> None:
    found = shipped("ilrec-table1")
    spelled = {(one.dataset, one.method) for one in found.selections() if one.method.startswith("ilrec")}
    assert spelled == {
        ("instrument", "ilrec:alpha=0.8,beta=0.1"),
        ("game", "ilrec:alpha=0.8,beta=0.1"),
        ("art", "ilrec:alpha=1.0,beta=0.05"),
    }
    grid = [parse_selection(name)[1] for name in found.methods if name.startswith("sasrec")]
    assert {values["dim"] for values in grid} == {"128"}
    assert len({(values["lr"], values["dropout"]) for values in grid}) == 4
    assert "sprec" in found.methods
    assert "rosepo:negatives=self-hard" in found.methods  # not recbench's default


def test_the_study_of_the_soft_paper_teaches_dllm2rec_by_bigrec_alone() -> None:
    counts = Counter((one.paradigm, one.method) for one in shipped("soft-table2").selections())
    assert counts["title", "dllm2rec"] == 3 * 5
    assert counts["hybrid", "dllm2rec"] == 0
    for method in ("sft", "sdpo", "soft", "soft:adaptive=false"):
        assert counts["title", method] == counts["hybrid", method] == 3 * 5


def test_the_row_that_the_soft_study_compares_with_has_that_label() -> None:
    found = shipped("soft-table2")
    labels = {resolve(one).label for one in found.selections()}
    assert found.reference in labels


def test_the_soft_study_has_the_papers_batch_on_each_set() -> None:
    batches = set()
    for one in shipped("soft-table2").selections():
        run = resolve(one)
        if one.seed == 0 and run.plugin.traits.kind == "llm":
            assert run.llm is not None
            assert (run.llm.train.lr, "train" in run.label) == (1e-4, False)
            batches.add((one.dataset, run.llm.train.batch))
    assert batches == {("soft-game", 256), ("soft-kindle", 256), ("soft-movie", 128)}
