"""A process that has imported libraries but no method, and forks one for each trial: none imports them again.

A line on stdin names the file of a trial and its seconds; the answer is the exit code, null at the limit. The
forked process leaves what it tells in `told.jsonl` and what it prints in `log.txt`, beside the file.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from recbench.base.lifetime import PARENT, as_parent, end_with_parent
from recbench.base.root import for_methods
from recbench.conformance import trial

OF_LANGUAGE_MODELS = (
    "torch",
    "transformers.trainer",
    "trl.trainer.sft_trainer",
    "peft",
    "sklearn.decomposition",
)
POLL_SECONDS = 0.01
TOLD, LOG = "told.jsonl", "log.txt"


class Server:
    """The process, as its user sees it."""

    def __init__(self, path: Sequence[str], libraries: Sequence[str]) -> None:
        environ = {
            **as_parent(for_methods(os.environ)),
            "PYTHONSAFEPATH": "1",
            "PYTHONPATH": os.pathsep.join(path),
        }
        environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "recbench.conformance.server", *libraries],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
            start_new_session=True,  # Ctrl-C goes to the command
        )
        weakref.finalize(self, _end, self._child)

    def run(self, file: Path, seconds: float) -> tuple[list[str], int | None]:
        """What the trial told, line by line, and its exit code; None where it was ended at the limit."""
        questions, answers = self._child.stdin, self._child.stdout
        assert questions is not None
        assert answers is not None
        questions.write(json.dumps([str(file), seconds]) + "\n")
        questions.flush()
        code: int | None = json.loads(answers.readline())
        return (file.parent / TOLD).read_text(encoding="utf-8").splitlines(), code


def _end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()


def server(*, language_models: bool) -> Server:
    """The server of this process for its search path."""
    return _server(tuple(filter(None, sys.path)), OF_LANGUAGE_MODELS if language_models else ())


@lru_cache(maxsize=2)
def _server(path: tuple[str, ...], libraries: tuple[str, ...]) -> Server:
    return Server(path, libraries)


def main(libraries: Sequence[str]) -> int:
    end_with_parent()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        for name in libraries:
            with suppress(ImportError):  # the method that needs it says so
                importlib.import_module(name)
        os.environ[PARENT] = str(os.getpid())
        for line in sys.stdin:
            file, seconds = json.loads(line)
            answers.write(json.dumps(_forked(Path(file), seconds)) + "\n")
            answers.flush()
    return 0


def _forked(file: Path, seconds: float) -> int | None:
    """The exit code of a process of its own that makes the trial."""
    (file.parent / TOLD).write_bytes(b"")
    child = os.fork()
    if child == 0:
        os._exit(_child(file))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            _kill(child)  # what it has started, and left
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL_SECONDS)
    _kill(child)
    os.waitpid(child, 0)
    return None


def _kill(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _child(file: Path) -> int:
    code = 1
    try:
        os.setsid()
        os.chdir(file.parent)
        log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for stream, descriptor in ((0, nothing), (1, log), (2, log)):
            os.dup2(descriptor, stream)
        with open(TOLD, "a", encoding="utf-8") as lines:
            code = trial.main(file, lines)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
