"""A root folder with a small dataset, and a third-party distribution with methods of every temper."""

from __future__ import annotations

import gc
import gzip
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.base.progress import Listener
from recbench.base.root import Root, discover
from recbench.cli import main
from recbench.planning.plan import Planned, plan
from recbench.planning.resolve import Selection
from recbench.results.bundle import Bundle
from recbench.running import execute
from recbench.running.task import Task

NUM_USERS, NUM_ITEMS = 120, 60

CARD = """
name = "toy"
title = "Made-up log"
noun = "thing"
citation = "none"
terms = "none"

[[sources]]
format = "normalised"
folder = "toy"

[sources.interactions]
name = "interactions.csv.gz"

[sources.items]
name = "items.csv.gz"
"""

TOY_METHODS = Path(__file__).parent / "toy_methods"
"""A distribution of methods; a test that needs it puts it on its path."""


def pytest_collection_finish() -> None:
    """Leave what is imported to itself: transformers' trainer collects garbage before each stage, and reading
    the objects of torch and transformers takes longer than many a stage of these tests."""
    gc.collect()
    gc.freeze()


def write_metadata(folder: Path, sources: Path = TOY_METHODS) -> Path:
    """What an installer writes beside the package in `sources`: its name, version and entry points."""
    project = tomllib.loads((sources / "pyproject.toml").read_text())["project"]
    info = folder / f"{sources.name}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]\n", *(f"{name} = {value}\n" for name, value in points.items())]
    (info / "entry_points.txt").write_text("".join(lines))
    return folder


def write_log(root: Path) -> None:
    """The card `toy` and its raw files. User u's last item is (7 u + 3) mod I, the rest random."""
    rng = np.random.default_rng(5)
    raw = root / "raw" / "toy"
    raw.mkdir(parents=True)
    (root / "datasets").mkdir()
    (root / "datasets" / "toy.toml").write_text(CARD)
    rows = ["user_id,item_id,position"]
    for user in range(NUM_USERS):
        last = (7 * user + 3) % NUM_ITEMS
        others = rng.permutation(np.setdiff1d(np.arange(NUM_ITEMS), [last]))[: rng.integers(4, 12)]
        rows += [f"{user},{item},{position}" for position, item in enumerate([*others, last])]
    with gzip.open(raw / "interactions.csv.gz", "wt") as stream:
        stream.write("\n".join(rows) + "\n")
    with gzip.open(raw / "items.csv.gz", "wt") as stream:
        stream.write("item_id,title,categories\n")
        stream.writelines(f"{item},thing {item},kind {item % 5}\n" for item in range(NUM_ITEMS))


@dataclass(frozen=True)
class World:
    """A root with the dataset `toy` and the methods of the plugin."""

    root: Root

    def plan(self, *methods: str, **more: Any) -> list[Planned]:
        return plan([Selection(method=method, dataset="toy", **more) for method in methods], self.root)

    def run(
        self, *methods: str, force: bool = False, listener: Listener | None = None, **more: Any
    ) -> list[Bundle]:
        return execute.run_all(self.plan(*methods, **more), self.root, force=force, listener=listener)

    def task(self, planned: Planned, out: Path) -> Task:
        out.mkdir(parents=True, exist_ok=True)
        return Task(
            spec=planned.spec,
            split=planned.split.folder,
            cache=self.root.cache,
            out=out,
            device="cpu",
            threads=1,
            offline=True,
        )

    def recbench(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What the command line answers; the command itself runs in this process, its workers do not."""
        code: Any = None
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as errors:
            try:
                main(words)
            except SystemExit as end:
                code = end.code
        return subprocess.CompletedProcess(words, code or 0, out.getvalue(), errors.getvalue())

    def command(self, *words: str) -> Sequence[str]:
        """For a process of its own."""
        return [sys.executable, "-c", "from recbench.cli import main; main()", *words]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    path = (write_metadata(tmp_path / "site"), TOY_METHODS)
    root = tmp_path / "root"
    root.mkdir()
    write_log(root)
    settings: Mapping[str, str] = {
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "RECBENCH_ROOT": str(root),
        "RECBENCH_DATA": str(root / "raw"),
        "RECBENCH_MLFLOW": "off",
        "RECBENCH_THREADS": "1",
        "RECBENCH_DEVICE": "cpu",
    }
    for name in list(os.environ):
        if name.startswith("RECBENCH_") or name == "MLFLOW_TRACKING_URI":
            monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    for name in [
        name for name in sys.modules if name.partition(".")[0] in ("toy_methods", "hostile_methods")
    ]:
        monkeypatch.delitem(sys.modules, name)  # a run says when its process had imported a plugin
    for folder in path:
        monkeypatch.syspath_prepend(str(folder))
    return World(discover(cwd=root))
