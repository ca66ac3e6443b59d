"""The process in which another package's class reads raw files: these and no other targets, to write one
folder. `python -m recbench.running.guard.reading FOLDER`, with the task in FOLDER."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from recbench.base.extensions import extension, failures
from recbench.base.extensions.extension import head
from recbench.base.lifetime import end_with_parent
from recbench.base.params import parse_assignments
from recbench.base.root import discover
from recbench.dataset.card import Filter
from recbench.dataset.sources import brought
from recbench.dataset.sources.log import filtered
from recbench.errors import RecbenchError, of_file
from recbench.running.guard import process
from recbench.running.guard.bounds import bounds
from recbench.running.guard.closed import closed_for_all


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    end_with_parent()
    task = json.loads((folder / brought.TASK).read_text())
    sys.path[:] = task["path"]
    files = {part: Path(path) for part, path in task["files"].items()}
    out, root = folder / "out", discover(Path(task["root"]))
    out.mkdir()
    limits = bounds(
        closed=closed_for_all(root),
        cache=root.cache,
        written=[out],
        temporary=folder / "tmp",
        alone=True,
        opened=files.values(),
    )
    process.enter(
        limits, mode=root.guard, method=(), probe=process.probe_in(root.cache), tell=lambda _found: None
    )
    os.chdir(out)
    try:
        _read(task["format"], files, out, ticks=task["ticks"], rules=Filter(**task["filter"]))
    except (RecbenchError, OSError) as error:
        told = error if isinstance(error, RecbenchError) else of_file(error)
        (out / brought.ERROR).write_text(json.dumps(failures.failure(told)))
    return 0


def _read(asked: str, files: dict[str, Path], out: Path, *, ticks: int, rules: Filter) -> None:
    found = extension.load("format", head(asked))
    reader = found.build(parse_assignments(asked.split(":")[1:]))
    with found.faults("when it reads its files"):
        raw = brought.raw_log(reader, files, ticks=ticks)
    brought.leave(out, filtered(raw, rules))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
