"""Methods that look around: at the machine that their process sees, and for the test targets."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.data import Requests, TrainingData
from recbench.method import RunContext
from recbench.ranking import Ranking, rank_by_scores
from toy_methods.base import Base


@dataclass(kw_only=True)
class Surroundings(Base):
    """Records what its process sees of the machine."""

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        names = ("CUDA_VISIBLE_DEVICES", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")
        facts = {name: os.environ.get(name) for name in names} | {"device": run.device}
        (run.workdir / "facts.json").write_text(json.dumps(facts))
        super().fit(data, run=run)


@dataclass(kw_only=True)
class Canary(Base):
    """Looks for the test targets, which it would know by their pattern, wherever it can reach."""

    leak: str = ""

    def rank(self, requests: Requests, /, *, k: int) -> Ranking:
        scores = np.random.default_rng(0).random((len(requests), self._data.num_items))
        candidates = list(self.reachable())  # first, or it would find the pattern that it compares with
        wanted = (7 * np.arange(len(requests)) + 3) % self._data.num_items
        for array in candidates:
            if array.shape == wanted.shape and (array == wanted).mean() > 0.9:
                scores[np.arange(len(requests)), array.astype(int)] = 2.0
        items, values = rank_by_scores(scores, self._data.catalogue.popularity, k=k)
        return Ranking(items=items, scores=values)

    def reachable(self) -> Iterator[NDArray[Any]]:
        """Every array in the fit's folder, in the file that `leak` names, and in memory."""
        yield from self._on_disk()
        for thing in [*gc.get_objects(), *_of_callers()]:
            for part in [thing, *_inside(thing)]:
                if isinstance(part, np.ndarray) and part.dtype.kind in "iuf":
                    yield part
                elif isinstance(part, (list, tuple)) and part and all(type(x) is int for x in part):
                    yield np.array(part, dtype=object)

    def _on_disk(self) -> Iterator[NDArray[Any]]:
        named = [Path(self.leak)] if self.leak else []
        for path in [*(path for path in self._run.workdir.rglob("*") if path.is_file()), *named]:
            try:
                loaded = np.load(path)
                yield from loaded.values() if hasattr(loaded, "values") else [loaded]
            except (ValueError, OSError, EOFError):
                yield np.frombuffer(path.read_bytes(), dtype=np.uint8)


def _of_callers() -> list[object]:
    """The variables of all functions that are running."""
    frame: FrameType | None = sys._getframe()
    seen: list[object] = []
    while frame is not None:
        seen += [*frame.f_locals.values(), *frame.f_globals.values()]
        frame = frame.f_back
    return seen


def _inside(thing: object) -> list[object]:
    if isinstance(thing, (list, tuple, set)):
        return list(thing)
    if isinstance(thing, dict):
        return list(thing.values())
    return [getattr(thing, field.name, None) for field in fields(thing)] if is_dataclass(thing) else []
