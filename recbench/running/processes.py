"""Processes that share a fit or a ranking under `torchrun`: their ranks, and the requests of each."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbench.base.files import write_text
from recbench.data import Ints, Requests
from recbench.errors import MissingError
from recbench.ranking import Ranking, join
from recbench.results.bundle import read_arrays, write_arrays

POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Place:
    """The rank of this process among those that share the work."""

    rank: int
    world_size: int

    @property
    def main(self) -> bool:
        return self.rank == 0

    @classmethod
    def of(cls, environ: Mapping[str, str], *, expected: int) -> Place:
        """From the variables of torchrun. MissingError unless exactly `expected` processes were started:
        fewer would train on another batch size, and say nothing."""
        started = int(environ.get("WORLD_SIZE", "1"))
        if started != expected:
            were = "was" if started == 1 else "were"
            raise MissingError(
                f"{expected} processes were asked for, and {started} {were} started",
                fix="recbench run --gpus N with as many GPUs as there are",
            )
        return cls(int(environ.get("RANK", "0")), started)


def shares(method: object, requests: Requests, parts: int) -> list[Ints]:
    """The rows of the requests that each process ranks: the method's own `shares`, else equal ranges."""
    if parts == 1:
        return [np.arange(len(requests))]
    own: Sequence[Ints] | None = None
    if hasattr(method, "shares"):
        own = method.shares(requests, parts)
    return list(own if own is not None else np.array_split(np.arange(len(requests)), parts))


def gather(folder: Path, place: Place, rows: Sequence[Ints], ranking: Ranking) -> Ranking | None:
    """The ranking of all requests, in the main process; None in the others, which write theirs to `folder`.

    Waits without a deadline: when a process fails, the launcher ends the others.
    """
    if place.world_size == 1:
        return ranking
    if not place.main:
        _write(folder, place.rank, ranking)
        return None
    others = [_read(folder, rank) for rank in range(1, place.world_size)]
    return join(rows, [ranking, *others])


def _write(folder: Path, rank: int, ranking: Ranking) -> None:
    arrays: dict[str, Any] = {"items": ranking.items}
    if ranking.scores is not None:
        arrays["scores"] = ranking.scores
    if ranking.certified is not None:
        arrays["certified"] = ranking.certified
    write_arrays(folder / f".share-{rank}.npz", **arrays)
    write_text(folder / f".share-{rank}.json", json.dumps(dict(ranking.stats)))


def _read(folder: Path, rank: int) -> Ranking:
    done = folder / f".share-{rank}.json"
    while not done.exists():
        time.sleep(POLL_SECONDS)
    arrays, stats = read_arrays(folder / f".share-{rank}.npz"), json.loads(done.read_text())
    (folder / f".share-{rank}.npz").unlink()
    done.unlink()
    return Ranking(**arrays, stats=stats)
