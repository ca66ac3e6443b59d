"""A method that wants the test targets: each way is prevented or recorded by the mechanism made for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recbench.board import build
from recbench.results.guarded import Guarded
from recbench.running.guard import landlock
from recbench.running.guard.closed import closed_for
from recbench.running.guard.process import Mode

if TYPE_CHECKING:
    from tests.conftest import World

PYTHON = os.path.basename(sys.executable)
needs_landlock = pytest.mark.skipif(landlock.abi() == 0, reason="this kernel has no Landlock")
BOTH = [pytest.param("landlock", marks=needs_landlock), "audit"]


@dataclass(frozen=True)
class Theft:
    stolen: int
    """Bytes of the file that the method came to read."""
    by: str
    marks: list[str]
    seen: list[str]


Steal = Callable[..., Theft]


@pytest.fixture
def steal(hostile: World, tmp_path: Path) -> Steal:
    def steal(way: str, path: Path, mode: Mode) -> Theft:
        """One fit in a worker of its own."""
        (planned,) = hostile.plan(f"thief:way={way},path={path}")
        task = hostile.task(planned, tmp_path / "out")
        task = replace(task, guard=mode, closed=closed_for("toy", hostile.root))
        task.write(tmp_path / "out" / "task.json")
        command = [
            sys.executable,
            "-m",
            "recbench.running.worker",
            "fit",
            str(tmp_path / "out" / "task.json"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        events = [event for event in map(json.loads, done.stdout.splitlines()) if event["event"] == "guard"]
        found: dict[str, list[str]] = {
            name: [event[name] for event in events if name in event] for name in ("by", "marks", "seen")
        }
        facts = json.loads((task.workdir / "facts.json").read_text())
        return Theft(facts["stolen"], found["by"][0], found["marks"], found["seen"])

    return steal


def targets(world: World) -> Path:
    return world.plan("counts")[0].split.folder / "targets_test.npz"


def slow(*ways: str) -> list[Any]:
    return [pytest.param(way, marks=pytest.mark.slow) for way in ways]


@needs_landlock
@pytest.mark.parametrize(
    "way", ["open", "arrow", "child", *slow("guarded-child", "thread", "link", "symlink", "rename")]
)
def test_with_landlock_no_way_reaches_the_targets(hostile: World, steal: Steal, way: str) -> None:
    path = targets(hostile)
    before = path.read_bytes()
    theft = steal(way, path, "landlock")
    assert theft.by == f"landlock ABI {landlock.abi()} + audit"
    assert theft.stolen == 0
    assert path.read_bytes() == before
    assert bool(theft.marks) == (way != "arrow")  # C++ is refused and tells nothing


@pytest.mark.parametrize("way", ["open", *slow("link", "symlink", "rename")])
def test_the_audit_hook_alone_refuses_what_python_opens_and_marks_it(
    hostile: World, steal: Steal, way: str
) -> None:
    path = targets(hostile)
    theft = steal(way, path, "audit")
    verb = "change" if way == "rename" else "read"
    assert (theft.by, theft.stolen) == ("audit", 0)
    assert theft.marks == [f"{verb} of {path.parent.name}/{path.name} refused, by the method"]


@pytest.mark.parametrize("way", ["child", *slow("thread")])
def test_the_audit_hook_alone_records_a_child_of_the_method(hostile: World, steal: Steal, way: str) -> None:
    path = targets(hostile)
    theft = steal(way, path, "audit")
    assert theft.stolen == path.stat().st_size  # which is why the manifest says by what a run was guarded
    assert theft.marks == [f"start of {'cat' if way == 'thread' else PYTHON} by the method"]


@pytest.mark.slow
def test_a_child_that_is_started_as_the_run_offers_has_the_hook_too(hostile: World, steal: Steal) -> None:
    path = targets(hostile)
    theft = steal("guarded-child", path, "audit")
    assert theft.stolen == 0
    assert theft.marks == [
        f"start of {PYTHON} by the method",
        f"read of {path.parent.name}/{path.name} refused, by the method",
    ]


def test_the_audit_hook_alone_does_not_see_cpp(hostile: World, steal: Steal) -> None:
    path = targets(hostile)
    theft = steal("arrow", path, "audit")
    assert (theft.by, theft.marks, theft.stolen) == ("audit", [], path.stat().st_size)


@pytest.mark.parametrize("mode", BOTH)
@pytest.mark.parametrize(
    "place", ["raw/toy/interactions.csv.gz", "runs/aaaaaaaaaaaa/ranks.npz", "cache/split"]
)
def test_raw_files_results_of_runs_and_other_splits_are_closed_too(
    hostile: World, steal: Steal, mode: Mode, place: str
) -> None:
    path = hostile.root.path / place
    if place == "cache/split":
        path = hostile.plan("counts", limit_users=50)[0].split.folder / "training.npz"
    elif not path.exists():
        path.parent.mkdir(parents=True)
        path.write_bytes(b"ranks")
    theft = steal("open", path, mode)
    assert theft.stolen == 0
    assert theft.marks == [f"read of {path.parent.name}/{path.name} refused, by the method"]


@pytest.mark.parametrize("mode", BOTH)
def test_a_method_changes_nothing_outside_its_folders(steal: Steal, mode: Mode, tmp_path: Path) -> None:
    engine = tmp_path / "engine.py"
    engine.write_text("pass\n")
    theft = steal("overwrite", engine, mode)
    assert (theft.stolen, engine.read_text()) == (0, "pass\n")
    assert theft.marks == [f"change of {tmp_path.name}/engine.py refused, by the method"]


def test_off_guards_nothing_and_says_so(hostile: World, steal: Steal) -> None:
    path = targets(hostile)
    theft = steal("open", path, "off")
    assert (theft.by, theft.stolen, theft.marks) == ("none", path.stat().st_size, [])


def test_a_mark_is_in_the_manifest_and_on_the_board_and_an_honest_row_has_none(hostile: World) -> None:
    path = targets(hostile)
    thief, counts = hostile.run(f"thief:path={path}", "counts")
    mark = f"read of {path.parent.name}/{path.name} refused, by the method"
    guarded = [run.manifest.guard or Guarded() for run in (thief, counts)]
    assert [each.marks for each in guarded] == [(mark,), ()]
    assert len({each.by for each in guarded}) == 1
    (table,) = build.build([thief, counts]).tables
    marked = [note for note in table.notes if "marked by the guard" in note]
    assert marked == [f"{thief.label}: marked by the guard of its workers: {mark}"]
