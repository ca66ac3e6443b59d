"""Shared stages: made once, and used only as they were made."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recbench.errors import DigestError
from recbench.stages import StageCache


def builder(value: float) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / "values.npy", np.full(3, value))


def value_of(folder: Path) -> float:
    return float(np.load(folder / "values.npy")[0])


def test_a_stage_is_made_once_and_checked_when_another_process_uses_it(tmp_path: Path) -> None:
    made = StageCache(tmp_path).get("kind", {"a": 1}, builder(1.0))
    assert value_of(StageCache(tmp_path).get("kind", {"a": 1}, builder(2.0))) == 1.0
    np.save(made / "values.npy", np.full(3, 9.0))
    with pytest.raises(DigestError, match=re.escape(f"{made / 'values.npy'} has changed")) as caught:
        StageCache(tmp_path).get("kind", {"a": 1}, builder(2.0))
    assert caught.value.fix == f"remove {made}: the next run makes it again"


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    made = StageCache(tmp_path).get("kind", {"a": 1}, builder(1.0))
    (made / "values.npy").unlink()
    with pytest.raises(DigestError, match=r"values\.npy") as caught:
        StageCache(tmp_path).get("kind", {"a": 1}, builder(1.0))
    assert "no such file" in caught.value.why


def test_a_stage_whose_cost_was_changed_is_refused(tmp_path: Path) -> None:
    made = StageCache(tmp_path).get("kind", {"a": 1}, builder(1.0))
    record = json.loads((made / "stage.json").read_text())
    (made / "stage.json").write_text(json.dumps(record | {"seconds": 0.0}))
    with pytest.raises(DigestError, match=r"stage\.json has changed"):
        StageCache(tmp_path).get("kind", {"a": 1}, builder(1.0))


@pytest.mark.parametrize("record", ['{"seconds": 1.0, "counts": {}}', "", "{"])
def test_a_stage_without_digests_is_made_again(tmp_path: Path, record: str) -> None:
    made = StageCache(tmp_path).get("kind", {"a": 1}, builder(1.0))
    (made / "stage.json").write_text(record)
    assert value_of(StageCache(tmp_path).get("kind", {"a": 1}, builder(2.0))) == 2.0


def test_a_shared_stage_is_used_and_one_that_is_not_there_is_made_in_the_own_folder(tmp_path: Path) -> None:
    shared, own = tmp_path / "shared", tmp_path / "own"
    made = StageCache(shared).get("kind", {"a": 1}, builder(1.0))
    mine = StageCache(own, shared)
    assert mine.get("kind", {"a": 1}, builder(2.0)) == made
    assert mine.get("kind", {"a": 2}, builder(2.0)).parent == own / "kind"
    assert mine.made_at().keys() == mine.used.keys()
    assert [path.parent.name for path in shared.glob("*/*/stage.json")] == [made.name]


def test_a_shared_stage_comes_before_an_own_one_of_the_same_name(tmp_path: Path) -> None:
    shared, own = tmp_path / "shared", tmp_path / "own"
    StageCache(own, shared).get("kind", {"a": 1}, builder(2.0))
    StageCache(shared).get("kind", {"a": 1}, builder(1.0))
    assert value_of(StageCache(own, shared).get("kind", {"a": 1}, builder(3.0))) == 1.0


def test_a_process_that_waits_for_a_stage_says_who_makes_it(tmp_path: Path) -> None:
    begun, told, said = threading.Event(), threading.Event(), []

    def build(folder: Path) -> None:
        begun.set()
        assert told.wait(30)
        builder(1.0)(folder)

    def waiting(stage: str, _done: int, _total: int) -> None:
        said.append(stage)
        told.set()

    first = threading.Thread(target=StageCache(tmp_path).get, args=("kind", {"a": 1}, build))
    first.start()
    assert begun.wait(30)
    made = StageCache(tmp_path, progress=waiting).get("kind", {"a": 1}, builder(2.0))
    first.join()
    assert value_of(made) == 1.0
    assert len(said) == 1
    assert re.fullmatch(rf"waiting for kind, which process {os.getpid()} on \S+ makes", said[0])
