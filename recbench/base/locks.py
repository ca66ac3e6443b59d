"""Locks between processes, including processes of several machines on one shared file system.

A lock is a folder of numbered files. To take the lock, a process creates the file with the next number,
which only one process can do, and touches it every few seconds; the highest number is the owner's. A dead
owner's number is passed: at once where its process can be looked up, else after DEAD_SECONDS without a
touch. Files are created and opened rather than locked by the kernel, because every network file system can
do that.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from recbench.base.files import write_text

BEAT_SECONDS = 5.0
DEAD_SECONDS = 60.0
MOST_SECONDS_BETWEEN_LOOKS = 1.0
SAME_START_SECONDS = 5.0
FREE = "free"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    host: str
    """Machine, boot and process namespace, within which `pid` is unique."""
    pid: int
    started: float
    """Start time of the process, because process ids are reused."""
    what: str
    """The purpose of the lock, in words."""

    @property
    def machine(self) -> str:
        return self.host.partition("/")[0]

    def is_alive(self) -> bool | None:
        """None where the owner is on another machine, so that this process cannot tell."""
        import psutil

        if self.host != _host():
            return None
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return bool(abs(process.create_time() - self.started) < SAME_START_SECONDS)
        except psutil.NoSuchProcess:
            return False


@contextmanager
def hold(
    folder: Path,
    what: str,
    *,
    waiting: Callable[[Owner | None], None] = lambda _owner: None,
    give_up: Callable[[], bool] = lambda: False,
    lost: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGTERM),
    beat: float = BEAT_SECONDS,
    dead: float = DEAD_SECONDS,
) -> Iterator[None]:
    """Own the lock inside the block.

    `waiting` is called once if another process has the lock; KeyboardInterrupt is raised when `give_up`
    returns True meanwhile. `lost` is called from another thread if another process took the lock over,
    which happens when this process was suspended for longer than `dead` seconds; by default it terminates
    this process, because the guarded files are no longer its own.
    """
    mine = _take(folder, this_process(what), waiting, give_up, dead)
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(mine, ended, beat, lost), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        if mine.exists():
            write_text(mine, FREE)


def holder(owner: Owner | None) -> str:
    """The owner in words, for those who wait."""
    return "another process" if owner is None else f"process {owner.pid} on {owner.machine}"


def owner(folder: Path, *, dead: float = DEAD_SECONDS) -> Owner | None:
    """The owner of the lock, or None. An owner on another machine counts as alive while its last touch is
    younger than `dead` seconds by this machine's clock."""
    seen = _look(folder)
    if seen is None or seen.owner is None:
        return None
    alive = seen.owner.is_alive()
    if alive is None:
        alive = time.time() - seen.touched / 1e9 < dead
    return seen.owner if alive else None


@dataclass(frozen=True, slots=True)
class _Seen:
    number: int
    touched: int
    owner: Owner | None
    """None while it is being written."""
    free: bool
    """Whether the lock was released. The number stays, so that numbers only grow."""


def _take(
    folder: Path,
    me: Owner,
    waiting: Callable[[Owner | None], None],
    give_up: Callable[[], bool],
    dead: float,
) -> Path:
    last, since, told, pause = None, time.monotonic(), False, 0.02
    while True:
        seen = _look(folder)
        if seen is not None and not seen.free:
            if (seen.number, seen.touched) != last:
                last, since = (seen.number, seen.touched), time.monotonic()
            alive = None if seen.owner is None else seen.owner.is_alive()
            if alive is None:
                alive = time.monotonic() - since < dead
            if alive:
                if give_up():
                    raise KeyboardInterrupt
                if not told:
                    waiting(seen.owner)
                    told = True
                time.sleep(pause)
                pause = min(1.5 * pause, MOST_SECONDS_BETWEEN_LOOKS)
                continue
        number = 1 if seen is None else seen.number + 1
        mine = folder / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with mine.open("x") as stream:
                json.dump(asdict(me), stream)
        except FileExistsError:
            continue
        numbers = _numbers(folder)
        if number < max(numbers):  # other processes have had the lock since `seen`
            mine.unlink(missing_ok=True)
            continue
        for earlier in numbers:
            if earlier < number:
                (folder / str(earlier)).unlink(missing_ok=True)
        return mine


def _beat(mine: Path, ended: threading.Event, beat: float, lost: Callable[[], None]) -> None:
    while not ended.wait(beat):
        try:
            os.utime(mine)
            passed = max(_numbers(mine.parent), default=0) > int(mine.name)
        except FileNotFoundError:
            passed = True
        except OSError:  # a file system that is away for a moment
            continue
        if passed and not ended.is_set():
            lost()
            return


def _look(folder: Path) -> _Seen | None:
    while numbers := _numbers(folder):
        number = max(numbers)
        try:
            # opening asks a network file system for the present state; stat alone may answer from memory
            with (folder / str(number)).open() as stream:
                touched, text = os.fstat(stream.fileno()).st_mtime_ns, stream.read()
        except FileNotFoundError:  # the next owner has tidied it up
            time.sleep(0.01)
            continue
        try:
            return _Seen(number, touched, Owner(**json.loads(text)), free=False)
        except (json.JSONDecodeError, TypeError):
            return _Seen(number, touched, None, free=text == FREE)
    return None


def _numbers(folder: Path) -> list[int]:
    try:
        return [int(name) for name in os.listdir(folder) if name.isdigit()]
    except FileNotFoundError:
        return []


def this_process(what: str) -> Owner:
    """This process as an owner would be known."""
    import psutil

    return Owner(host=_host(), pid=os.getpid(), started=psutil.Process().create_time(), what=what)


def _host() -> str:
    """Processes see each other when machine, boot and process namespace are the same; containers may share
    the name of a machine."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return "/".join(parts)
