"""Starting workers: one process, or several under `torchrun`, on one machine or on those of a Slurm job."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recbench.base.files import parse_json, scratch
from recbench.base.lifetime import PARENT, as_parent
from recbench.base.root import for_methods
from recbench.method import Stopped
from recbench.results.guarded import Watch
from recbench.running.failures import RecordedError, reported, silent_death, too_late
from recbench.running.task import Task

STOP_SECONDS = 30.0
"""How long a worker may take to end when it is asked to."""
LOG_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
"""A method that puts a link in the place of its log does not write elsewhere through its driver."""
EVENTS: Mapping[str, Mapping[str, type]] = {
    "progress": {"stage": str, "done": int, "total": int},
    "message": {"text": str},
    "guard": {},
    "failed": {"class": str, "message": str},
    "stopped": {},
    "done": {},
}
"""What a worker says, and what it says with it at least."""
Progress = Callable[[str, int, int], None]
"""Takes a stage, how much of it is done, and how much there is."""


class WorkerFailedError(RecordedError):
    """A worker ended without a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The part of the machine that the workers of a run see."""

    device: str
    variables: Mapping[str, str]
    """Environment variables that restrict the workers to it."""
    threads: int
    """CPU threads of all processes together."""
    processes: int = 1
    """Processes on each node."""
    nodes: int = 1
    seconds: float | None = None
    """How long a run may take here; None: a scheduler, or nobody, sets a limit."""
    deadline: float | None = None
    """When that is over, by the monotonic clock."""

    @property
    def world_size(self) -> int:
        return self.processes * self.nodes

    def alone(self) -> Slot:
        """The same slot for a method whose work cannot be shared between processes."""
        return replace(self, processes=1, nodes=1)

    def started(self) -> Slot:
        """The same slot for a run that begins now."""
        return self if self.seconds is None else replace(self, deadline=time.monotonic() + self.seconds)


@dataclass(frozen=True, slots=True, eq=False)
class Workers:
    """The worker processes of a driver; any thread can end them all."""

    stop: Path | None = None
    """The file that asks the workers to stop. With it they ignore signals, which the driver handles."""
    _running: set[subprocess.Popen[str]] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)  # a signal may come inside it
    ended: threading.Event = field(default_factory=threading.Event)
    """Whether the driver asked its workers to end; no worker starts after that."""

    def run(
        self,
        verb: str,
        task: Task,
        slot: Slot,
        log: Path,
        progress: Progress,
        *,
        say: Callable[[str], None],
        guard: Path,
    ) -> None:
        """Run one `fit` or `rank` to its end, and keep what its guard tells in the file `guard`. `say` takes
        its messages.

        Raises WorkerFailedError when the worker fails, ends before it says that it is done or is not done at
        the slot's deadline, Stopped when it stopped on request, and KeyboardInterrupt when the driver was
        interrupted.
        """
        failure: dict[str, Any] | None = None
        done = stopped = False
        watch = Watch(guard)
        # all nodes see the cache; the fit's own folder is sealed with all that is in it
        with scratch(task.cache if slot.nodes > 1 else None) as folder:
            path = Path(folder) / "task.json"
            task.write(path)
            with (
                os.fdopen(os.open(log, LOG_FLAGS, 0o666), "ab") as errors,
                self._started(verb, path, task, slot, errors) as child,
                _ended_at(slot.deadline, child) as late,
            ):
                for line in child.stdout or ():
                    event = _event(line)
                    if event is None:  # a launcher, or a library before the worker took its stdout
                        errors.write(line.encode())
                        continue
                    if event["event"] == "failed":
                        failure = failure or reported(event)
                    elif event["event"] == "stopped":
                        stopped = True
                    elif event["event"] == "message":
                        say(event["text"])
                    elif event["event"] == "guard":
                        watch.take(event)
                    elif event["event"] == "done":
                        done = True
                    else:
                        progress(event["stage"], event["done"], event["total"])
                code = child.wait()
        watch.write()
        if code == 0 and stopped and task.stop is not None:
            raise Stopped
        if self.ended.is_set():
            raise KeyboardInterrupt
        if code == 0 and done:
            return
        record = failure or silent_death(verb, code)
        if late.is_set():
            record = too_late(verb, slot.seconds or 0.0)
        raise WorkerFailedError(record["message"], record)

    def end(self) -> None:
        """Terminate all running workers, and let none start."""
        self.ended.set()
        with self._lock:
            running = list(self._running)
        for child in running:
            child.terminate()

    def wait(self, seconds: float) -> None:
        """Wait up to `seconds` for each running worker, then kill it."""
        with self._lock:
            running = list(self._running)
        for child in running:
            try:
                child.wait(seconds)
            except subprocess.TimeoutExpired:
                child.kill()

    @contextmanager
    def _started(
        self, verb: str, path: Path, task: Task, slot: Slot, errors: Any
    ) -> Iterator[subprocess.Popen[str]]:
        blocked = _signals_blocked(signal.SIGUSR2, signal.SIGTERM) if self.stop is not None else nullcontext()
        with self._lock, blocked:
            if self.ended.is_set():
                raise KeyboardInterrupt
            child = subprocess.Popen(
                command(verb, path, slot),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
                errors="replace",
                env=_environment(slot, offline=task.offline),
                start_new_session=True,  # Ctrl-C goes to the driver, which ends its workers
            )
            self._running.add(child)
        try:
            yield child
        finally:
            if child.poll() is None:
                child.kill() if self.stop is not None else child.terminate()
                try:
                    child.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
            if child.stdout is not None:
                child.stdout.close()
            with self._lock:
                self._running.discard(child)


def command(verb: str, path: Path, slot: Slot) -> list[str]:
    """The command line of a worker, or of the launcher of several."""
    worker = ["-m", "recbench.running.worker", verb, str(path)]
    if slot.world_size == 1:
        return [sys.executable, *worker]
    torchrun = [sys.executable, "-m", "recbench.llm.model.launcher", "--nproc-per-node", str(slot.processes)]
    if slot.nodes == 1:
        return [*torchrun, "--standalone", *worker]
    # one launcher on each node of the job; they meet at the node of this process. They share the allocation,
    # which this process already holds; memory 0 is all of it
    shared = ["--overlap", "--mem", "0"]
    srun = ["srun", *shared, "--nodes", str(slot.nodes), "--ntasks", str(slot.nodes)]
    meeting = f"{os.environ.get('MASTER_ADDR') or socket.gethostname()}:{_meeting_port()}"
    rendezvous = ["--rdzv-backend", "c10d", "--rdzv-endpoint", meeting, "--rdzv-id", path.parent.name]
    return [*srun, *torchrun, "--nnodes", str(slot.nodes), *rendezvous, *worker]


def _event(line: str) -> dict[str, Any] | None:
    """None for what is no event, whoever wrote it there: a method reaches the stream of its worker."""
    try:
        event = parse_json(line)
    except ValueError:
        return None
    if not isinstance(event, dict) or event.get("event") not in EVENTS:
        return None
    whole = all(isinstance(event.get(name), kind) for name, kind in EVENTS[event["event"]].items())
    return event if whole else None


def _meeting_port() -> int:
    """A port that follows from the job's number, so that no other job uses it."""
    return 20000 + int(os.environ.get("SLURM_JOB_ID", "0")) % 20000


def _environment(slot: Slot, *, offline: bool) -> dict[str, str]:
    environ = {**as_parent(for_methods(os.environ)), **slot.variables, "PYTHONSAFEPATH": "1"}
    if slot.nodes > 1:
        del environ[PARENT]  # srun's daemons start the workers
    environ.setdefault("OMP_NUM_THREADS", str(max(1, slot.threads // slot.processes)))
    environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if "OMP_WAIT_POLICY" not in environ:
        # an idle thread that spins takes a core from the thread it waits for: beside another busy process
        # training gets many times slower, and a short spin costs little without one
        environ.setdefault("GOMP_SPINCOUNT", "1000")
    if offline:
        environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return environ


@contextmanager
def _ended_at(deadline: float | None, child: subprocess.Popen[str]) -> Iterator[threading.Event]:
    """Ends the child, and what it has started, at the deadline; the event tells whether that was so."""
    late, over = threading.Event(), threading.Event()

    def watch() -> None:
        if deadline is None or over.wait(max(0.0, deadline - time.monotonic())):
            return
        late.set()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            if over.wait(STOP_SECONDS):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    if deadline is not None:
        watcher.start()
    try:
        yield late
    finally:
        over.set()
        if deadline is not None:
            watcher.join()


@contextmanager
def _signals_blocked(*signals: signal.Signals) -> Iterator[None]:
    """Block signals for processes started inside: a blocked signal stays blocked in a child."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
