"""Locks between processes: one owner at a time, a dead one's place is taken, one that was passed is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from recbench.base import locks

COUNTING = """
import sys, time
from pathlib import Path
from recbench.base import locks
folder, number = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(20):
    with locks.hold(folder, "counting"):
        seen = int(number.read_text())
        time.sleep(0.001)
        number.write_text(str(seen + 1))
"""
HOLDING = """
import sys, time
from pathlib import Path
from recbench.base import locks
with locks.hold(Path(sys.argv[1]), "holding"):
    print("held", flush=True)
    time.sleep(60)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def elsewhere(folder: Path, number: int) -> Path:
    """The lock as a process on another machine holds it."""
    folder.mkdir(exist_ok=True)
    there = locks.Owner(host="elsewhere/1", pid=1, started=0.0, what="far away")
    (folder / str(number)).write_text(json.dumps({name: getattr(there, name) for name in there.__slots__}))
    return folder / str(number)


def test_processes_take_turns(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    several = [start(COUNTING, tmp_path / "lock", tmp_path / "number") for _ in range(4)]
    assert [one.wait(60) for one in several] == [0] * 4
    assert (tmp_path / "number").read_text() == "80"
    (left,) = (tmp_path / "lock").iterdir()
    assert (left.name, left.read_text()) == ("80", locks.FREE)


def test_threads_of_one_process_take_turns_too(tmp_path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        with locks.hold(tmp_path / "lock", "work"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_killed_owner_is_known_to_be_dead_at_once(tmp_path: Path) -> None:
    one = start(HOLDING, tmp_path)
    assert one.stdout is not None
    assert one.stdout.readline() == "held\n"
    found = locks.owner(tmp_path)
    assert found is not None
    assert (found.pid, found.what) == (one.pid, "holding")
    one.kill()  # not waited for: what is left of it still has its number
    while locks.owner(tmp_path) is not None:
        time.sleep(0.01)
    told: list[locks.Owner | None] = []
    with locks.hold(tmp_path, "next", waiting=told.append, dead=1e9):
        held = locks.owner(tmp_path)
        assert held is not None
        assert held.pid == os.getpid()
    assert told == []
    one.wait()


def test_an_owner_on_another_machine_is_dead_when_it_stops_touching(tmp_path: Path) -> None:
    mark = elsewhere(tmp_path / "lock", 7)
    stop = threading.Event()

    def touch() -> None:
        while not stop.wait(0.02):
            os.utime(mark)

    touching = threading.Thread(target=touch)
    touching.start()
    taken = threading.Event()

    def take() -> None:
        with locks.hold(tmp_path / "lock", "next", dead=0.3):
            taken.set()

    taking = threading.Thread(target=take)
    taking.start()
    assert not taken.wait(1.0)
    stop.set()
    touching.join()
    assert taken.wait(30)
    taking.join()


def test_who_was_passed_is_told(tmp_path: Path) -> None:
    lost = threading.Event()
    with locks.hold(tmp_path, "slow", lost=lost.set, beat=0.02):
        elsewhere(tmp_path, 2)
        assert lost.wait(30)


def test_who_was_passed_is_told_also_when_the_next_one_is_through(tmp_path: Path) -> None:
    lost = threading.Event()
    with locks.hold(tmp_path, "stood still", lost=lost.set, beat=0.02):
        elsewhere(tmp_path, 2).write_text(locks.FREE)
        (tmp_path / "1").unlink()
        assert lost.wait(30)
    assert [path.name for path in tmp_path.iterdir()] == ["2"]  # and gives back nobody else's
    with locks.hold(tmp_path, "next"):
        assert [path.name for path in tmp_path.iterdir()] == ["3"]


def test_who_waits_may_give_up(tmp_path: Path) -> None:
    with (
        locks.hold(tmp_path, "first"),
        pytest.raises(KeyboardInterrupt),
        locks.hold(tmp_path, "second", give_up=lambda: True),
    ):
        pass


@pytest.mark.parametrize("text", ["", '{"host": "half'])
def test_a_half_written_mark_counts_as_held(tmp_path: Path, text: str) -> None:
    (tmp_path / "1").write_text(text)
    told: list[locks.Owner | None] = []
    with locks.hold(tmp_path, "next", waiting=told.append, dead=0.1):
        pass
    assert told == [None]


def test_a_number_of_a_process_that_was_used_again_is_not_its_owner(tmp_path: Path) -> None:
    with locks.hold(tmp_path, "first"):
        mine = json.loads((tmp_path / "1").read_text())
    (tmp_path / "4").write_text(json.dumps({**mine, "started": mine["started"] - 1000}))
    assert locks.owner(tmp_path) is None


def test_an_owner_on_another_machine_that_has_been_silent_holds_nothing(tmp_path: Path) -> None:
    mark = elsewhere(tmp_path, 3)
    held = locks.owner(tmp_path, dead=60.0)
    assert held is not None
    assert (held.machine, held.what) == ("elsewhere", "far away")
    silent = time.time() - 61
    os.utime(mark, (silent, silent))
    assert locks.owner(tmp_path, dead=60.0) is None


def test_a_silent_owner_on_another_machine_is_passed_and_its_number_removed(tmp_path: Path) -> None:
    mark = elsewhere(tmp_path, 3)
    told: list[locks.Owner | None] = []
    with locks.hold(tmp_path, "next", waiting=told.append, dead=0.1):
        assert [path.name for path in tmp_path.iterdir()] == ["4"]
    assert [owner and owner.machine for owner in told] == ["elsewhere"]
    assert not mark.exists()
