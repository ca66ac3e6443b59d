"""A board's folder at every moment of a build: the old board or the new one, never a mixture for a reader."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from recbench.board import build, folder
from recbench.errors import CheckError
from recbench.results.bundle import Bundle

MakeBundle = Callable[..., Bundle]


@pytest.fixture
def runs(make_bundle: MakeBundle) -> list[Bundle]:
    ranks = {"popularity": [0, 0, 3, 0, 1, 0], "itemknn": [1, 1, 3, 0, 1, 2]}
    return [make_bundle(name, found, seed=None) for name, found in ranks.items()]


def _state(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_disk_that_fills_up_leaves_the_old_board_whole(
    tmp_path: Path, runs: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = build.build(runs)
    folder.write(tmp_path, board, runs)
    before = _state(tmp_path)
    written = Path.write_text

    def full(path: Path, *args: str, **more: str) -> int:
        if path.name == "board.tex":
            raise OSError(28, "No space left on device")
        return written(path, *args, **more)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left") as caught:
        folder.write(tmp_path, build.build(runs[:1]), runs[:1])
    assert Path(caught.value.filename).name == "board.tex"
    monkeypatch.undo()
    assert _state(tmp_path) == before
    folder.check(tmp_path)


def test_a_build_killed_after_any_step_of_the_move_is_completed_by_the_next_reader(
    tmp_path: Path, runs: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    new = build.build(runs[:1])
    expected = tmp_path / "expected"
    folder.write(expected, new, runs[:1])
    steps = len(list(expected.iterdir()))
    for survived in range(steps + 1):
        killed = tmp_path / f"killed-{survived}"
        folder.write(killed, build.build(runs), runs)
        left = [survived]

        def replace(part: Path, place: Path, left: list[int] = left) -> Path:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            shutil.move(part, place)
            return place

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", replace)
            with suppress(KeyboardInterrupt):
                folder.write(killed, new, runs[:1])
        folder.check(killed)
        assert _state(killed) == _state(expected)


@pytest.mark.parametrize(
    "command",
    [
        "curl http://x | sh",
        "recbench leaderboard build; rm -r x",
        "recbench leaderboard build $(x)",
        "recbench leaderboard build\nrm -r x",
        "recbench leaderboard build \x1b[2J",
        "recbench run -m popularity",
        "",
    ],
)
def test_a_command_that_is_not_a_build_of_a_board_is_refused(
    tmp_path: Path, runs: list[Bundle], command: str
) -> None:
    folder.write(tmp_path, build.build(runs, command=command), runs)
    with pytest.raises(CheckError, match="its command is not one of recbench"):
        folder.check(tmp_path)


@pytest.mark.parametrize("content", ["", "[" * 100_000, "null", "[]", "{}", '{"schema": 3}'])
def test_a_broken_board_fails_the_check(tmp_path: Path, runs: list[Bundle], content: str) -> None:
    folder.write(tmp_path, build.build(runs), runs)
    (tmp_path / "board.json").write_text(content)
    with pytest.raises(CheckError, match=r"board\.json is not a board"):
        folder.check(tmp_path)


def _link(place: Path, target: Path) -> None:
    place.unlink(missing_ok=True)
    place.symlink_to(target)


@pytest.mark.parametrize("name", ["study.toml", "records/other", "records/0123456789ab/COMPLETE", ".built"])
def test_a_link_anywhere_in_a_board_is_refused_and_what_is_behind_it_stays(
    tmp_path: Path, runs: list[Bundle], name: str
) -> None:
    board, elsewhere = tmp_path / "board", tmp_path / "elsewhere"
    folder.write(board, build.build(runs), runs)
    elsewhere.mkdir()
    (elsewhere / "letter").write_text("dear")
    name = name.replace("0123456789ab", runs[0].id)
    _link(board / name, elsewhere / "letter" if name.endswith(("toml", "COMPLETE")) else elsewhere)
    with pytest.raises(CheckError, match=f"{name} is a link or no plain file"):
        folder.check(board)
    assert (elsewhere / "letter").read_text() == "dear"
    assert not (board / "letter").exists()


def test_records_behind_a_link_and_a_board_that_is_a_pipe_are_refused(
    tmp_path: Path, runs: list[Bundle]
) -> None:
    board = tmp_path / "board"
    folder.write(board, build.build(runs), runs)
    shutil.move(board / "records", tmp_path / "elsewhere")
    (board / "records").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckError, match="records is a link"):
        folder.check(board)
    (board / "records").unlink()
    (board / "board.json").unlink()
    os.mkfifo(board / "board.json")
    with pytest.raises(CheckError, match=r"board\.json is a link or no plain file"):
        folder.check(board)


def test_a_board_behind_a_link_is_refused(tmp_path: Path, runs: list[Bundle]) -> None:
    board = tmp_path / "board"
    folder.write(board, build.build(runs), runs)
    shutil.move(board / "board.md", tmp_path / "elsewhere.md")
    (board / "board.md").symlink_to(tmp_path / "elsewhere.md")
    with pytest.raises(CheckError, match=r"board\.md is a link"):
        folder.check(board)
