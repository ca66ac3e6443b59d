"""What a fit cost in all its attempts, also in those that were killed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from recbench.running.attempts import Attempts
from recbench.stages import StageCache

BEGAN = 1_000_000.0


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    folder = tmp_path / "fits" / "one"
    folder.mkdir(parents=True)
    return folder


def leave(workdir: Path, **seconds_after_began: float) -> None:
    """What an attempt that began at BEGAN and was killed has left, by when it was last written."""
    (workdir / "attempts.jsonl").write_text(json.dumps({"began": BEGAN}) + "\n")
    os.utime(workdir / "attempts.jsonl", (BEGAN, BEGAN))
    for name, seconds in seconds_after_began.items():
        path = workdir / name.replace("_", ".")
        path.touch()
        os.utime(path, (BEGAN + seconds, BEGAN + seconds))


def nothing(_folder: Path) -> Mapping[str, int] | None:
    return None


def test_a_killed_attempt_lasted_until_it_last_wrote_something(tmp_path: Path, workdir: Path) -> None:
    leave(workdir, train_jsonl=7.0, log_txt=99.0)
    spent = Attempts(workdir / "attempts.jsonl", StageCache(tmp_path))
    with spent.counted():
        pass
    assert spent.total().attempts == 2
    assert spent.total().seconds == pytest.approx(7.0, abs=0.5)


def test_what_a_killed_attempt_lasted_is_kept_when_the_next_one_writes(tmp_path: Path, workdir: Path) -> None:
    leave(workdir, train_jsonl=7.0)
    spent = Attempts(workdir / "attempts.jsonl", StageCache(tmp_path))
    (workdir / "train.jsonl").write_text("now")
    with pytest.raises(KeyboardInterrupt), spent.counted():
        raise KeyboardInterrupt
    spent = Attempts(workdir / "attempts.jsonl", StageCache(tmp_path))
    with spent.counted():
        pass
    assert spent.total().attempts == 3
    assert spent.total().seconds == pytest.approx(7.0, abs=0.5)


def test_a_stage_that_a_killed_attempt_made_counts_once(tmp_path: Path, workdir: Path) -> None:
    made, older = (StageCache(tmp_path).get("stage", {"number": number}, nothing) for number in (1, 2))
    leave(workdir, train_jsonl=7.0)
    os.utime(made / "stage.json", (BEGAN + 3, BEGAN + 3))
    os.utime(older / "stage.json", (BEGAN - 3, BEGAN - 3))
    stages = StageCache(tmp_path)
    spent = Attempts(workdir / "attempts.jsonl", stages)
    with spent.counted():
        for number in (1, 2):
            stages.get("stage", {"number": number}, nothing)
    assert spent.total().stages.keys() == {f"stage/{made.name}", f"stage/{older.name}"}
    assert spent.total().stages_built == [f"stage/{made.name}"]
