"""The child process of a third party's package, which imports it and answers questions about its methods."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recbench.base.extensions import failures, points
from recbench.base.files import parse_json, scratch
from recbench.base.lifetime import as_parent
from recbench.base.root import for_methods

GUARDED = "recbench.running.guard.asked"
"""The module that runs `plugin_host` where the test targets are closed; it is on a floor above."""
END_SECONDS = 5.0
QUICK = ("describe", "build")
ANSWER_SECONDS = 300.0
"""How long a class may take to say what it is: its package is imported for it, on a slow disk too. What it
fetches and computes has no limit."""


class Host:
    """One for a package; a new process is started where a plugin has ended it."""

    def __init__(self, path: Sequence[str], root: Path | None) -> None:
        self._path = list(path)
        self._root = root
        self._child = self._start()

    def ask(self, question: Mapping[str, Any], who: str) -> Mapping[str, Any]:
        """`answer`, and the `files` that it was made from; or the error that it was.

        UnusablePluginError where the child ends without either, takes too long, or its code writes what is no
        answer.
        """
        with _limited(self._child, ANSWER_SECONDS if question["ask"] in QUICK else None) as late:
            line = self._exchange(json.dumps(question))
        if late.is_set():
            why = f"gave no answer for {ANSWER_SECONDS:g} s"
        elif not line:
            why = f"ended the process that reads it (exit code {self._child.wait()})"
        else:
            try:
                return _answer(line)
            except (ValueError, KeyError, TypeError, AttributeError):
                why = "wrote what is no answer"
        self._child.kill()
        self._child.wait()
        self._child = self._start()
        raise points.UnusablePluginError(
            f"{who} cannot be used",
            why=f"its code {why}",
            fix="leave out what ends or blocks the process when the class is imported or built",
        )

    def _exchange(self, line: str) -> str:
        """Empty where the child is gone."""
        questions, answers = self._child.stdin, self._child.stdout
        if questions is None or answers is None:
            return ""
        try:
            questions.write(line + "\n")
            questions.flush()
        except BrokenPipeError:
            return ""
        return answers.readline()

    def _start(self) -> subprocess.Popen[str]:
        temporary = scratch()
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", GUARDED, temporary.name, *([str(self._root)] if self._root else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=as_parent(for_methods(os.environ)),
            start_new_session=True,  # Ctrl-C goes to the command
        )
        weakref.finalize(self, _end, child, temporary)
        if child.stdin is not None:
            child.stdin.write(json.dumps(self._path) + "\n")
        return child


def _answer(line: str) -> Mapping[str, Any]:
    """ValueError, KeyError, TypeError or AttributeError for a line that the host did not write."""
    found: Mapping[str, Any] = parse_json(line)
    if "error" in found:
        raise failures.error_of(found["error"])
    return {name: found[name] for name in ("answer", "files")}


@contextmanager
def _limited(child: subprocess.Popen[str], seconds: float | None) -> Iterator[threading.Event]:
    """Ends the child after so many seconds; the event tells whether that was so."""
    late = threading.Event()

    def end() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(seconds or 0.0, end)
    timer.daemon = True
    if seconds is not None:
        timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def _end(child: subprocess.Popen[str], temporary: TemporaryDirectory[str]) -> None:
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            try:
                stream.close()
            except BrokenPipeError:
                continue
    try:
        child.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    temporary.cleanup()
