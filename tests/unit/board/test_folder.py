from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from recbench.board import build
from recbench.board import folder as records
from recbench.errors import CheckError, MissingError
from recbench.results import bundle
from recbench.results.bundle import Bundle

MakeBundle = Callable[..., Bundle]
LLM = {"paradigm": "semantic-id", "backbone": "tiny"}


@pytest.fixture
def runs(make_bundle: MakeBundle) -> list[Bundle]:
    made = [make_bundle("popularity", [0, 3, 0, 2, 0, 1], seed=None)]
    for seed in range(2):
        made.append(
            make_bundle("sft", [1, 2, 0, 4, 5, 0], seed=seed, llm=LLM, curve='{"step": 1, "loss": 2.5}\n')
        )
        made.append(make_bundle("ilrec", [1, 1, 2, seed, 1, 3], seed=seed, llm=LLM))
    made.append(make_bundle("gru4rec", [], failure={"class": "oom", "reason": "needed 80 GiB"}))
    return made


@pytest.fixture
def folder(runs: Sequence[Bundle], tmp_path: Path) -> Path:
    """A board as it is committed."""
    folder = tmp_path / "leaderboards" / "study"
    board = build.build(runs, metric="hr@5", reference="sft", command="recbench leaderboard build study")
    records.write(folder, board, runs)
    return folder


def test_a_board_is_rebuilt_from_its_records_alone(folder: Path, runs: Sequence[Bundle]) -> None:
    for one in runs:
        assert (folder / "records" / one.id / "ranks.npz").exists() == (one.status == "complete")
        assert not (folder / "records" / one.id / "log.txt").exists()
    board = records.check(folder)
    assert {run.label for run in board.excluded} == {"gru4rec"}
    assert [row.name for row in board.tables[0].rows] == ["ilrec", "sft", "popularity"]


def test_the_board_does_not_depend_on_the_order_of_the_runs(folder: Path, runs: Sequence[Bundle]) -> None:
    board = build.build(
        reversed(runs), metric="hr@5", reference="sft", command="recbench leaderboard build study"
    )
    assert records.dumps(board.to_json()) + "\n" == (folder / "board.json").read_text()


def test_one_changed_byte_of_any_file_of_a_record_fails(folder: Path, runs: Sequence[Bundle]) -> None:
    failed, whole = runs[-1], runs[-2]
    files = [path for run in (failed, whole) for path in sorted((folder / "records" / run.id).iterdir())]
    assert len(files) == 4 + 6  # manifest, marker, cost, curve; metrics and ranks where it did not fail
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content + b"x" if not content else bytes([content[0] ^ 1]) + content[1:])
        with pytest.raises(CheckError, match="is not what its records give") as caught:
            records.check(folder)
        assert path.name in caught.value.why or path.parent.name in caught.value.why
        path.write_bytes(content)
    records.check(folder)


def test_a_record_that_was_sealed_again_fails(folder: Path, runs: Sequence[Bundle]) -> None:
    """Whoever changes a curve can give it fitting digests, but the board names the digest of each record."""
    [one, *_] = [run for run in runs if run.label == "sft"]
    staging = bundle.create(folder / "records", one.id)
    for path in (folder / "records" / one.id).iterdir():
        if path.name not in ("manifest.json", "COMPLETE"):
            (staging / path.name).write_bytes(path.read_bytes())
    bundle.finish(staging, replace(one.manifest, code={"commit": "other"}), status="complete")
    with pytest.raises(CheckError) as caught:
        records.check(folder)
    assert f"board.records.{one.id}" in caught.value.why


@pytest.mark.parametrize("name", ["board.md", "board.tex", "index.html"])
def test_a_form_that_was_edited_or_removed_fails(folder: Path, name: str) -> None:
    text = (folder / name).read_text()
    (folder / name).write_text(text.replace("ilrec", "ilrek", 1))
    with pytest.raises(CheckError, match="study"):
        records.check(folder)
    (folder / name).unlink()
    with pytest.raises(CheckError) as caught:
        records.check(folder)
    assert caught.value.why == f"{name} is missing"


def test_a_number_may_differ_from_the_sixth_digit_on_and_no_earlier(folder: Path) -> None:
    board = json.loads((folder / "board.json").read_text())
    row = board["tables"][0]["rows"][0]
    cell = row["vs"]["sft"]
    changed = {}
    for name, factor in (("low", 1 + 3e-7), ("high", 1 + 3e-5)):
        changed[name] = cell[name]
        cell[name] *= factor
    (folder / "board.json").write_text(records.dumps(board))
    with pytest.raises(CheckError) as caught:
        records.check(folder)
    assert "rows[0].vs.sft.high" in caught.value.why
    assert "rows[0].vs.sft.low" not in caught.value.why


def test_a_record_too_many_fails(folder: Path, make_bundle: MakeBundle) -> None:
    other = make_bundle("dpo", [1, 1, 1, 1, 1, 1], runs=folder / "records")
    with pytest.raises(CheckError, match="study") as caught:
        records.check(folder)
    assert other.id in caught.value.why or "rows" in caught.value.why


def test_a_board_that_is_no_board_is_said_to_be_none(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        records.check(tmp_path / "nowhere")
    (folder / "board.json").write_text("{}")
    with pytest.raises(CheckError, match="study"):
        records.check(folder)


def test_building_again_leaves_no_record_of_runs_that_are_gone(folder: Path, runs: Sequence[Bundle]) -> None:
    fewer = [run for run in runs if run.label != "sft"]
    records.write(folder, build.build(fewer), fewer)
    assert {path.name for path in (folder / "records").iterdir()} == {run.id for run in fewer}
    records.check(folder)


def test_json_lists_of_numbers_stand_on_one_line_and_nan_is_refused() -> None:
    value = {"b": [1.5, None, "x"], "a": [{"c": []}], "e": {}}
    text = records.dumps(value)
    assert json.loads(text) == value
    assert '"b": [1.5, null, "x"]' in text
    with pytest.raises(ValueError, match="Out of range"):
        records.dumps({"a": [float("nan")]})
