"""The child process of a third party's package, which imports it and answers questions about its methods."""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recbench.base.extensions import failures, points
from recbench.base.files import scratch

GUARDED = "recbench.running.guard.asked"
"""The module that runs `plugin_host` where the test targets are closed; it is on a floor above."""
END_SECONDS = 5.0


class Host:
    """One for a package; a new process is started where a plugin has ended it."""

    def __init__(self, path: Sequence[str], root: Path | None) -> None:
        self._path = list(path)
        self._root = root
        self._child = self._start()

    def ask(self, question: Mapping[str, Any], who: str) -> Mapping[str, Any]:
        """`answer`, and the `files` that it was made from; or the error that it was.

        UnusablePluginError where the child ends without either.
        """
        line = self._exchange(json.dumps(question))
        if not line:
            code = self._child.wait()
            self._child = self._start()
            raise points.UnusablePluginError(
                f"{who} cannot be used",
                why=f"its code ended the process that reads it (exit code {code})",
                fix="leave out what ends the process when the class is imported or built",
            )
        found: Mapping[str, Any] = json.loads(line)
        if "error" in found:
            raise failures.error_of(found["error"])
        return found

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
            text=True,
            start_new_session=True,  # Ctrl-C goes to the command
        )
        weakref.finalize(self, _end, child, temporary)
        if child.stdin is not None:
            child.stdin.write(json.dumps(self._path) + "\n")
        return child


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
