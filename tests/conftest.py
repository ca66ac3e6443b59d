"""A root folder with a small dataset, and a third-party distribution with methods of every temper."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
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

PLUGIN = '''
"""Methods of a third party, as a test needs them."""
import gc, json, os, signal, sys, time
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from recbench.errors import UsageError
from recbench.ranking import Ranking, rank_by_scores

class Base:
    """Ranks by the vector that `fit` left."""
    def fit(self, data, /, *, run):
        np.save(run.workdir / "scores.npy", self.scores(data, run))
        run.report.count(steps=3, trained_tokens=data.num_targets)
    def scores(self, data, run):
        return run.rng("init").random(data.num_items)
    def load(self, data, /, *, run):
        self._data, self._scores, self._run = data, np.load(run.workdir / "scores.npy"), run
    def rank(self, requests, /, *, k):
        rows = np.broadcast_to(self._scores, (len(requests), len(self._scores)))
        items, scores = rank_by_scores(rows, self._data.catalogue.popularity, k=k, requests=requests)
        return Ranking(items=items, scores=scores)

@dataclass(kw_only=True)
class Noise(Base):
    """Scores drawn at random once."""
    beta: float = 0.1
    def fit(self, data, /, *, run):
        print("a library talks on stdout")
        for step in (1, 2, 3):
            run.report.log(step=step, loss=1.0 / step)
            run.report.progress("training", step, 3)
        super().fit(data, run=run)

@dataclass(kw_only=True)
class Counts(Base):
    """Popularity."""
    stochastic: ClassVar[bool] = False
    version: ClassVar[int] = 3
    def scores(self, data, run):
        return data.catalogue.popularity.astype(float)

@dataclass(kw_only=True)
class Broken(Base):
    how: str = "error"
    def fit(self, data, /, *, run):
        if self.how == "memory":
            raise MemoryError("no room")
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "exit":
            sys.exit(3)
        if self.how == "crash":
            os._exit(7)
        if self.how == "usage":
            raise UsageError("no such film", why="it was never made", fix="another film")
        if self.how == "facts":
            print("fitted")
            (run.workdir / "facts.json").write_text('{"loss": NaN}')
        if self.how in ("late", "facts"):
            return super().fit(data, run=run)
        raise RuntimeError("this method does not work")
    def rank(self, requests, /, *, k):
        if self.how == "facts":
            print("ranked")
            return super().rank(requests, k=k)
        return Ranking(items=np.zeros((len(requests), k), dtype=np.int64))

@dataclass(kw_only=True)
class Slow(Base):
    """Waits in its first attempt, until it is stopped; continues in the second."""
    space: ClassVar[dict] = {"pace": (1, 2)}
    pace: int = 1
    def fit(self, data, /, *, run):
        mark = run.workdir / "checkpoint"
        if not mark.exists():
            mark.write_text("half way")
            run.report.log(step=1, loss=2.0)
            run.report.progress("training", 1, 2)
            while True:
                time.sleep(0.05)
        run.report.log(step=1, loss=2.0)
        run.report.log(step=2, loss=1.0)
        super().fit(data, run=run)

@dataclass(kw_only=True)
class Fragile(Base):
    """Does not survive its first attempt."""
    how: str = "error"
    def fit(self, data, /, *, run):
        mark = run.workdir / "checkpoint"
        if not mark.exists():
            mark.write_text("half way")
            run.report.progress("training", 1, 2)
            if self.how == "memory":
                import torch
                raise torch.OutOfMemoryError("CUDA out of memory")
            if self.how == "child":
                os._exit(137)
            if self.how == "driver":
                os.kill(os.getppid(), signal.SIGKILL)
            if self.how == "late":
                time.sleep(600)
            raise RuntimeError("not today")
        super().fit(data, run=run)

@dataclass(kw_only=True)
class Staged(Base):
    """Uses a shared stage."""
    width: int = 4
    def scores(self, data, run):
        def build(folder):
            time.sleep(0.02)
            np.save(folder / "made.npy", np.arange(data.num_items))
        return np.load(run.stages.get("made", {"size": data.num_items}, build) / "made.npy") * self.width

@dataclass(kw_only=True)
class Resumed(Staged):
    """Stops after its stage in its first attempt, and needs the stage no more in the second."""
    def fit(self, data, /, *, run):
        mark = run.workdir / "scores.npy"
        if not mark.exists():
            super().fit(data, run=run)
            raise RuntimeError("stopped")

@dataclass(kw_only=True)
class Surroundings(Base):
    """Leaves what its process sees of the machine."""
    def fit(self, data, /, *, run):
        names = ("CUDA_VISIBLE_DEVICES", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")
        facts = {name: os.environ.get(name) for name in names} | {"device": run.device}
        (run.workdir / "facts.json").write_text(json.dumps(facts))
        super().fit(data, run=run)

@dataclass(kw_only=True)
class Canary(Base):
    """Looks for the test targets, which it would know by their pattern, wherever it can reach."""
    leak: str = ""
    def rank(self, requests, /, *, k):
        scores = np.random.default_rng(0).random((len(requests), self._data.num_items))
        candidates = list(self.reachable())  # first, or it would find the pattern that it compares with
        wanted = (7 * np.arange(len(requests)) + 3) % self._data.num_items
        for found in candidates:
            if found.shape == wanted.shape and (found == wanted).mean() > 0.9:
                scores[np.arange(len(requests)), found.astype(int)] = 2.0
        items, values = rank_by_scores(scores, self._data.catalogue.popularity, k=k)
        return Ranking(items=items, scores=values)
    def reachable(self):
        for path in [p for p in self._run.workdir.rglob("*") if p.is_file()] + [p for p in [self.leak] if p]:
            try:
                loaded = np.load(path)
                yield from loaded.values() if hasattr(loaded, "values") else [loaded]
            except (ValueError, OSError, EOFError):
                yield np.frombuffer(open(path, "rb").read(), dtype=np.uint8)
        frame, seen = sys._getframe(), []
        while frame is not None:
            seen += [*frame.f_locals.values(), *frame.f_globals.values()]
            frame = frame.f_back
        for thing in [*gc.get_objects(), *seen]:
            inside = [thing]
            if isinstance(thing, (list, tuple, set)):
                inside = [thing, *thing]
            elif isinstance(thing, dict):
                inside = list(thing.values())
            elif hasattr(type(thing), "__dataclass_fields__"):
                inside = [getattr(thing, name, None) for name in type(thing).__dataclass_fields__]
            for one in inside:
                if isinstance(one, np.ndarray) and one.dtype.kind in "iuf":
                    yield one
                elif isinstance(one, (list, tuple)) and one and all(type(x) is int for x in one):
                    yield np.array(one, dtype=object)

@dataclass(kw_only=True)
class Graded(Base):
    """The nearer `share` is to 1, the more it knows of the validation items; beyond, it fails."""
    space: ClassVar[dict] = {"share": (0.0, 0.5, 1.0, 2.0), "train.lr": {"pretrained": (1e-4,)}}
    share: float = 0.5
    def scores(self, data, run):
        if self.share > 1:
            raise RuntimeError("a share is at most 1")
        known = np.bincount(data.valid.target, minlength=data.num_items)
        return self.share * known + (1 - self.share) * 10 * super().scores(data, run)

@dataclass(kw_only=True)
class Child(Base):
    starts_from: ClassVar[str] = "parent"

@dataclass(kw_only=True)
class Speaker(Base):
    """Claims a language model, so that the engine's settings reach it."""
    kind: ClassVar[str] = "llm"
    presets: ClassVar[dict] = {"tiny": {"train.epochs": 2.0}}
    temperature: float = 1.0
    @classmethod
    def identity(cls, llm):
        return {"engine": 1, "prompt": "p" * 64, "backbone_digest": "b" * 64}
    @classmethod
    def fetch(cls, llm): ...
    def scores(self, data, run):
        facts = {"identifiers": "i", "num_parameters": {"all": 11, "trainable": 3}}
        (run.workdir / "facts.json").write_text(json.dumps(facts))
        return np.arange(data.num_items) * run.llm.train.epochs
    def rank(self, requests, /, *, k):
        plain = super().rank(requests, k=k)
        certified = np.arange(len(requests)) % 4 > 0
        return Ranking(items=plain.items, certified=certified, stats={"nodes_per_user": 5.0})
'''

NAMES = (
    "noise",
    "counts",
    "broken",
    "slow",
    "fragile",
    "staged",
    "resumed",
    "surroundings",
    "canary",
    "graded",
    "child",
    "speaker",
)


def write_plugin(folder: Path) -> Path:
    """An installed distribution as it lies in site-packages: a module, and metadata with entry points."""
    info = folder / "toy_methods-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "toy_methods.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-methods\nVersion: 1.0\n")
    points = "".join(f"{name} = toy_methods:{name.capitalize()}\n" for name in NAMES)
    (info / "entry_points.txt").write_text(f"[recbench.methods]\n{points}")
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
    plugin = write_plugin(tmp_path / "site")
    root = tmp_path / "root"
    root.mkdir()
    write_log(root)
    settings: Mapping[str, str] = {
        "PYTHONPATH": str(plugin),
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
    monkeypatch.syspath_prepend(str(plugin))
    return World(discover(cwd=root))
