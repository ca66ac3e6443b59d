"""Ranks items 0, 1, 2, ... for everybody, and forges its result in one of several ways."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbench.data import Requests, TrainingData
from recbench.method import RunContext
from recbench.ranking import Ranking
from recbench.results.fit_record import FitRecord, RankRecord

WISHES = {
    "recbench.results.metrics": ("summary", "per_request", "check_identity"),
    "recbench.results.evaluate": ("target_ranks", "score", "score_into"),
    "recbench.results.bundle": ("finish", "write_json", "load"),
    "recbench.dataset.split": ("load_targets",),
}
METRICS = {f"{name}@{k}": 1.0 for name in ("hr", "ndcg", "mrr") for k in (1, 5, 10, 20)}
WAIT_SECONDS = 20.0


def out() -> Path:
    """Where this worker leaves its ranking."""
    return Path(json.loads(Path(sys.argv[2]).read_text())["out"])


def leave_instead(**arrays: Any) -> None:
    """Let the worker write these arrays, and check nothing."""
    handover: Any = importlib.import_module("recbench.running.handover")
    record = handover.leave
    Ranking.check = lambda *_, **__: None  # type: ignore[method-assign]  # the attack

    def leave(folder: Path, ranking: Ranking, written: RankRecord) -> None:
        record(folder, ranking, written)
        np.savez(folder / "topk.npz", **({"items": ranking.items} | arrays))

    handover.leave = leave


def evaluator(_shape: tuple[int, int], _method: Forger) -> None:
    """Everything that computes a number, and the files with the numbers."""
    write(out())
    for name, verbs in WISHES.items():
        for verb in verbs:
            setattr(importlib.import_module(name), verb, lambda *_, **__: METRICS)
    np.where = np.argmax = lambda *_, **__: np.ones(1, dtype=int)  # type: ignore[assignment]  # the attack


def write(folder: Path) -> None:
    np.savez(folder / "ranks.npz", ranks=np.ones(120, dtype=np.int32), users=np.arange(120).astype(str))
    for name in ("metrics.json", "manifest.json", "COMPLETE"):
        (folder / name).write_text(json.dumps(METRICS))


def certificates(shape: tuple[int, int], _method: Forger) -> None:
    leave_instead(certified=np.ones(shape[0], dtype=bool))


def floats(shape: tuple[int, int], _method: Forger) -> None:
    leave_instead(items=np.tile(np.arange(shape[1]) + 0.4, (shape[0], 1)))


def duplicates(shape: tuple[int, int], _method: Forger) -> None:
    leave_instead(items=np.zeros(shape, dtype=np.int32))


def wide(shape: tuple[int, int], _method: Forger) -> None:
    leave_instead(items=np.tile(np.arange(60), (shape[0], 1)))


def bomb(_shape: tuple[int, int], _method: Forger) -> None:
    leave_instead(more=np.zeros(10_000_000))


def link(_shape: tuple[int, int], method: Forger) -> None:
    """The list of another run, which the driver may read."""
    handover: Any = importlib.import_module("recbench.running.handover")
    record = handover.leave

    def leave(folder: Path, ranking: Ranking, written: RankRecord) -> None:
        record(folder, ranking, written)
        (folder / "topk.npz").unlink()
        (folder / "topk.npz").symlink_to(method.path)

    handover.leave = leave


def note(_shape: tuple[int, int], _method: Forger) -> None:
    """A record of the ranking that no reader of JSON gets to the end of."""
    handover: Any = importlib.import_module("recbench.running.handover")
    record = handover.leave

    def leave(folder: Path, ranking: Ranking, written: RankRecord) -> None:
        record(folder, ranking, written)
        (folder / "rank.json").write_text("[" * 100_000)

    handover.leave = leave


def late(_shape: tuple[int, int], _method: Forger) -> None:
    """A process that outlives the worker, and writes where results are made."""
    folder = out()
    name = folder.name.removesuffix(".partial").removesuffix(".ranking")
    if os.fork():
        return
    os.setsid()
    os.closerange(0, 100)
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end and not (folder.parent / "over").exists():
        for place in (folder, folder.with_name(f"{name}.partial"), folder.with_name(name[1:])):
            try:
                write(place)
            except OSError:
                continue
    os._exit(0)


def log(_shape: tuple[int, int], _method: Forger) -> None:
    """What the driver copied for this method from behind the link that `fit` left."""
    folder = out()
    for place in (folder, folder.with_name(folder.name.replace(".ranking", ""))):
        for path in (place / "log.txt", place / "train.jsonl"):
            try:
                found = path.read_bytes()
            except OSError:
                continue
            if b"target.npy" in found:
                raise RuntimeError("found the targets")


def say(run: RunContext) -> None:
    """Lines to the driver that are no events of a worker, and a guard that nobody set."""
    send: Any = getattr(run.report, "send")  # noqa: B009  # no part of what a method is given
    send("progress")
    send("promotion")
    send("message", text=5)
    for number in range(100):
        send("message", text=f"{number}\n0a1b2c3d4e5f  popularity on toy: failed " + "x" * 10_000)
    send("guard", by="landlock ABI \u00b2 + audit", seen="x" * 10_000)
    send("failed", **{"class": "mine", "message": "not me", "fix": 3, "traceback": 5, "what": float("nan")})
    os.write(send.__self__._lines.fileno(), b"[" * 100_000 + b"\n\xff\n")


def die(run: RunContext) -> None:
    say(run)
    os._exit(3)


def cost(parents: list[str], **counts: Any) -> Callable[[RunContext], None]:
    def forge(_run: RunContext) -> None:
        honest = FitRecord.to_json
        changed = {"parents": parents} if parents else {"counts": counts}
        FitRecord.to_json = lambda self: {**honest(self), **changed}  # type: ignore[method-assign]  # the attack

    return forge


def facts(run: RunContext) -> None:
    (run.workdir / "facts.json").write_text('{"moved_nats": NaN}')


FITS: Mapping[str, Callable[[RunContext], None]] = {
    "say": say,
    "die": die,
    "facts": facts,
    "parents": cost(["../../runs"]),
    "other-parent": cost(["0123456789ab"]),
    "counts": cost([], steps="many"),
}
WAYS: Mapping[str, Callable[[tuple[int, int], Forger], None]] = {
    "evaluator": evaluator,
    "certificates": certificates,
    "floats": floats,
    "duplicates": duplicates,
    "wide": wide,
    "bomb": bomb,
    "link": link,
    "note": note,
    "late": late,
    "log": log,
}


@dataclass(kw_only=True)
class Forger:
    way: str = "evaluator"
    path: str = ""

    def fit(self, _data: TrainingData, /, *, run: RunContext) -> None:
        if self.way == "log":
            (run.workdir / "log.txt").unlink()
            (run.workdir / "log.txt").symlink_to(self.path)
        if self.way in FITS:
            FITS[self.way](run)

    def load(self, data: TrainingData, /, *, run: RunContext) -> None: ...

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        items = np.tile(np.arange(k), (len(requests), 1))
        if self.way in WAYS:
            WAYS[self.way](items.shape, self)
        return Ranking(items=items)
