"""Records of fits and rankings: what is written is read again, and facts keep whatever a method leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recbench.base.environment import PeakMemory
from recbench.errors import CheckError
from recbench.results.fit_record import FACTS, FIT, Facts, FitRecord, RankRecord, Spent

PEAK = PeakMemory(host_bytes=100, gpu_bytes=None)
FITTED = FitRecord(
    spent=Spent(
        seconds=10.0,
        attempts=2,
        stages={"sasrec/aa": 4.0, "identifiers/bb": 3.0},
        stage_counts={"sasrec/aa": {"generated_tokens": 7}},
        stages_built=["sasrec/aa"],
    ),
    counts={"steps": 7},
    facts=Facts(identifiers="ab", num_parameters={"all": 11, "trainable": 3}, more={"vocabulary": 707}),
    peak=PEAK,
    device="cuda",
    threads=2,
    processes=4,
    parents=["feedbeef0123"],
)


def test_a_fit_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    FITTED.write(tmp_path)
    assert FitRecord.read(tmp_path) == FITTED


def test_a_fit_record_is_flat(tmp_path: Path) -> None:
    FITTED.write(tmp_path)
    record = json.loads((tmp_path / FIT).read_text())
    assert (record["seconds"], record["counts"]) == (10.0, {"steps": 7})
    assert record["facts"] == {
        "identifiers": "ab",
        "num_parameters": {"all": 11, "trainable": 3},
        "vocabulary": 707,
    }


def test_an_early_fit_record_is_read() -> None:
    record = FITTED.to_json()
    del record["stage_counts"], record["processes"]
    early = FitRecord.from_json(record)
    assert (early.spent.stage_counts, early.processes) == ({}, 1)


def test_own_seconds_are_those_without_the_stages_made_on_the_way() -> None:
    assert FITTED.spent.own_seconds == 6.0  # 10 in all, 4 of them for sasrec/aa


def test_a_rank_record_survives_its_file(tmp_path: Path) -> None:
    ranked = RankRecord(seconds=2.0, stats={"nodes_per_user": 3.5}, peak=PEAK, processes=2)
    ranked.write(tmp_path)
    assert RankRecord.read(tmp_path) == ranked


def test_no_record_is_read_through_a_link(tmp_path: Path) -> None:
    """The driver reads them, and may read what a method may not."""
    FITTED.write(tmp_path)
    (tmp_path / "fit").mkdir()
    (tmp_path / "fit" / FIT).symlink_to(tmp_path / FIT)
    with pytest.raises(OSError, match="symbolic links"):
        FitRecord.read(tmp_path / "fit")


def test_a_method_that_leaves_no_facts_has_none(tmp_path: Path) -> None:
    assert Facts.read(tmp_path) == Facts()


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2]",
        "{",
        '{"num_parameters": 11}',
        '{"num_parameters": {"all": "many"}}',
        '{"moved_nats": NaN}',
        '{"mine": [Infinity]}',
        '{"selection": {"train": {}}}',
        '{"identifiers": 3}',
        "[" * 100_000,
    ],
)
def test_facts_of_another_form_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FACTS).write_text(text)
    with pytest.raises(CheckError, match=r"facts\.json has no facts"):
        Facts.read(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": float("nan")},
        {"counts": {"steps": "many"}},
        {"counts": {"steps": True}},
        {"counts": []},
        {"parents": ["../../runs"]},
        {"parents": [["feedbeef0123"]]},
        {"stages_built": ["other/cc"]},
        {"stages": {"sasrec/aa": None}},
        {"peak": {}},
        {"device": None},
    ],
)
def test_a_record_of_another_form_is_refused_because_a_method_may_have_written_it(
    tmp_path: Path, change: dict[str, object]
) -> None:
    (tmp_path / FIT).write_text(json.dumps(FITTED.to_json() | change))
    with pytest.raises(CheckError, match=r"fit\.json is not the record of a fit") as caught:
        FitRecord.read(tmp_path)
    assert str(tmp_path) in caught.value.fix
