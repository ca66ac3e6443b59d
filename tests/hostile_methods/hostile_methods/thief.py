"""Tries to read a file in one of several ways, goes on whatever comes of it, and leaves what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbench.data import Requests, TrainingData
from recbench.method import RunContext
from recbench.ranking import Ranking, rank_by_scores

COPY = "import pathlib, sys; sys.stdout.buffer.write(pathlib.Path(sys.argv[1]).read_bytes())"


def with_open(path: Path, _run: RunContext) -> bytes:
    with path.open("rb") as stream:
        return stream.read()


def with_arrow(path: Path, _run: RunContext) -> bytes:
    """Through C++, which raises no audit event."""
    import pyarrow

    with pyarrow.OSFile(str(path)) as stream:
        return bytes(stream.read())


def with_child(path: Path, _run: RunContext) -> bytes:
    return subprocess.run([sys.executable, "-c", COPY, str(path)], capture_output=True, check=True).stdout


def with_guarded_child(path: Path, run: RunContext) -> bytes:
    """In the way that the run offers, so that the child has a hook of its own."""
    command = [*run.module_command, "hostile_methods.copy", str(path)]
    return subprocess.run(command, capture_output=True, check=True).stdout


def with_thread(path: Path, run: RunContext) -> bytes:
    """The thread runs no code of this module."""
    target = run.workdir / "copy"
    with target.open("wb") as stream:
        thread = threading.Thread(
            target=subprocess.run, args=(["cat", str(path)],), kwargs={"stdout": stream, "stderr": stream}
        )
        thread.start()
        thread.join()
    found = target.read_bytes()
    return b"" if b"Permission denied" in found else found


def with_link(path: Path, run: RunContext) -> bytes:
    """A second name where reading is allowed."""
    os.link(path, run.workdir / "link")
    return (run.workdir / "link").read_bytes()


def with_symlink(path: Path, run: RunContext) -> bytes:
    link = run.workdir / "symlink"
    os.symlink(path, link)
    try:
        return link.read_bytes()
    finally:
        link.unlink()  # a fit is sealed with all that its links lead to


def with_rename(path: Path, run: RunContext) -> bytes:
    os.rename(path, run.workdir / "moved")
    return (run.workdir / "moved").read_bytes()


def overwrite(path: Path, _run: RunContext) -> bytes:
    """A file of the engine, which another process would run."""
    with path.open("ab") as stream:
        stream.write(b"\n")
    return b"written"


WAYS: Mapping[str, Callable[[Path, RunContext], bytes]] = {
    "open": with_open,
    "arrow": with_arrow,
    "child": with_child,
    "guarded-child": with_guarded_child,
    "thread": with_thread,
    "link": with_link,
    "symlink": with_symlink,
    "rename": with_rename,
    "overwrite": overwrite,
}


@dataclass(kw_only=True)
class Thief:
    way: str = "open"
    path: str = ""

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        np.save(run.workdir / "scores.npy", data.catalogue.popularity)
        try:
            found = WAYS[self.way](Path(self.path), run)
        except (OSError, subprocess.CalledProcessError) as error:
            found = b""
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        (run.workdir / "facts.json").write_text(json.dumps({"stolen": len(found)}))

    def load(self, data: TrainingData, /, *, run: RunContext) -> None:
        self._data, self._scores = data, np.load(run.workdir / "scores.npy")

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        rows = np.broadcast_to(self._scores, (len(requests), len(self._scores)))
        items, scores = rank_by_scores(rows, self._data.catalogue.popularity, k=k, requests=requests)
        return Ranking(items=items, scores=scores)
