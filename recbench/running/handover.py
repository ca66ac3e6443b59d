"""A ranking leaves its worker: the driver reads the files once, and believes nothing that it can check.

A method may change everything in the process in which it ranks, so what a worker has checked is checked again
here. The driver writes its own copy: who still writes in the worker's folder changes nothing.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recbench.base.files import naming, read_plain
from recbench.data import Requests
from recbench.errors import CheckError
from recbench.ranking import KINDS, Ranking, as_ranking
from recbench.results.fit_record import RankRecord, check_numbers
from recbench.results.spec import RunSpec
from recbench.running.failures import MethodError
from recbench.settings import RANKERS

TOPK = "topk.npz"
SPARE_BYTES = 1 << 16
"""Of headers, above what the numbers of a ranking take."""


def leave(folder: Path, ranking: Ranking, record: RankRecord) -> None:
    """For the worker: `topk.npz`, which the driver will compress, and `rank.json` in `folder`."""
    with naming(folder / TOPK):
        np.savez(folder / TOPK, **arrays(ranking))
    record.write(folder)


def arrays(ranking: Ranking) -> dict[str, Any]:
    """The arrays of `topk.npz`: items, and scores and certificates where the method reports them."""
    found: dict[str, Any] = {"items": ranking.items.astype(np.int32)}
    if ranking.scores is not None:
        found["scores"] = ranking.scores.astype(np.float32)
    if ranking.certified is not None:
        found["certified"] = ranking.certified
    return found


def take(folder: Path, requests: Requests, *, num_items: int, spec: RunSpec) -> tuple[Ranking, RankRecord]:
    """For the driver: the ranking of `requests` in `folder`, and its record.

    Certificates stay where a ranker of recbench's own gives them. MethodError where the files are no valid
    ranking.
    """
    depth = spec.protocol["depth"]
    try:
        ranking = as_ranking(_read(folder / TOPK, most=len(requests) * (16 * depth + 1) + SPARE_BYTES))
        ranking.check(requests, num_items=num_items, depth=depth)
        record = RankRecord.read(folder)
        _check_numbers(record)
    except (
        *(OSError, EOFError, zipfile.BadZipFile),
        *(KeyError, TypeError, ValueError, AttributeError, OverflowError),
    ) as error:
        raise MethodError from CheckError(
            "the worker left no ranking", why=f"{type(error).__name__}: {error}", fix="recbench logs"
        )
    except CheckError as error:
        raise MethodError from error
    if (spec.ranker or {}).get("name") not in RANKERS:
        ranking = replace(ranking, certified=None)  # only a ranker of recbench's own proves anything
    return ranking, record


def _read(path: Path, *, most: int) -> Ranking:
    content = io.BytesIO(read_plain(path))  # once: who still writes there could change it in between
    with zipfile.ZipFile(content) as packed:
        size = sum(part.file_size for part in packed.infolist())
        if size > most:
            raise ValueError(f"{path.name} holds {size:,} bytes, and a ranking of these requests {most:,}")
    content.seek(0)
    with np.load(content, allow_pickle=False) as archive:
        return Ranking(**{name: archive[name] for name in archive.files if name in KINDS})


def _check_numbers(record: RankRecord) -> None:
    values = [record.seconds, record.load_seconds, record.processes]
    values += [record.peak.host_bytes, record.peak.gpu_bytes or 0, record.millijoules or 0]
    check_numbers([*values, *record.stats.values()])
