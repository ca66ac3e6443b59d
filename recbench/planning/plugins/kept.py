"""Answers of third parties' classes, kept in `cache/descriptions/` as long as no file that gave them changes.

So a command need not import a package to know what a method was asked before. Files that code reads for
itself, and environment variables, are not seen.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from recbench.base import digest
from recbench.base.files import parse_json, write_text

FOLDER = "descriptions"
State = tuple[int, int, int]
Files = Mapping[str, State]
"""The times at which the content and the entry of a file last changed in nanoseconds, and its size, by path.

A copy with the old time and size, as an archive makes it, is a new entry."""


def loaded() -> Files:
    """The files of all modules of this process."""
    paths = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    return states(filter(None, paths))


def states(paths: Iterable[str]) -> Files:
    """Those that exist."""
    return {path: found for path in sorted(paths) if (found := _state(path)) is not None}


def file_of(root: Path, asked: Sequence[EntryPoint], question: Mapping[str, Any]) -> Path:
    """Where the answer is kept; another version of a package, or of Python, is another question."""
    packages = [
        [point.value, *(() if point.dist is None else (point.dist.name, point.dist.version))]
        for point in asked
    ]
    key = digest.of_json([question, packages, sys.version, sys.prefix])
    return root / "cache" / FOLDER / f"{digest.short(key)}.json"


def read(file: Path) -> Any:
    """The answer, or None: there is none, or a file that gave it has changed."""
    try:
        record = parse_json(file.read_bytes())
        unchanged = all(_state(path) == tuple(state) for path, state in record["files"].items())
        return record["answer"] if unchanged else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write(file: Path, answer: Any, files: Files) -> None:
    """Keep an answer; nothing is said where that is not possible."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps({"answer": answer, "files": files}))


def _state(path: str) -> State | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size
