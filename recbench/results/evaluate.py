"""A ranking on disk and the held-out targets become ranks and metrics. R requests, K places, I items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recbench.data import Catalogue, Requests
from recbench.dataset import split
from recbench.errors import CheckError
from recbench.protocol import Phase
from recbench.results import bundle, list_measures, metrics, request_features, top_lists
from recbench.results.request_features import Context


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvaluationSet:
    """A phase of a prepared split as its evaluator knows it before any target is opened."""

    split: Path
    phase: Phase
    catalogue: Catalogue
    requests: Requests
    """With all earlier items of each user as `excluded`, whatever the protocol masks."""
    users: Sequence[str]  # [R] the source's names

    @classmethod
    def load(cls, folder: Path, phase: Phase) -> Self:
        requests = split.load_requests(folder, phase, exclude_seen=True)
        names = split.load_users(folder)
        return cls(
            split=folder,
            phase=phase,
            catalogue=split.load_catalogue(folder),
            requests=requests,
            users=[names[int(user)] for user in requests.user],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The facts of a scored ranking beside its metrics."""

    num_requests: int
    certified_share: float | None
    """None where the ranker certifies nothing."""


def score_into(folder: Path, asked: EvaluationSet, *, cutoffs: Sequence[int]) -> Scored:
    """Open the targets, and write `ranks.npz`, `metrics.json`, `top10.npz` and the request features.

    The ranking is `folder`'s `topk.npz`: it is on disk before a target is read.
    """
    topk = bundle.read_arrays(folder / "topk.npz")
    targets = split.load_targets(asked.split, asked.phase)
    context = request_features.context_of(asked.catalogue, asked.requests, targets)
    ranks, values = score(topk["items"], targets, context=context, cutoffs=cutoffs)
    request_features.write(folder, context)
    top_lists.write(folder, topk["items"], len(asked.catalogue))
    bundle.write_arrays(folder / "ranks.npz", ranks=ranks, users=np.array(asked.users))
    bundle.write_json(folder / "metrics.json", values)
    certified = topk.get("certified")
    return Scored(
        num_requests=len(ranks),
        certified_share=None if certified is None else float(certified.mean()),
    )


def target_ranks(items: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.int32]:
    """[R] the 1-based rank of each target in its row of `items` [R, K]; 0 where it is absent.

    CheckError where the shapes do not fit or a target is negative (it would be found in the padding).
    """
    if items.ndim != 2 or targets.shape != items.shape[:1]:
        raise CheckError(f"rankings of shape {items.shape} do not fit targets of shape {targets.shape}")
    if (targets < 0).any():
        raise CheckError(f"request {int(np.argmax(targets < 0))} has no target")
    hits = items == targets[:, None]
    ranks: NDArray[np.int32] = np.where(hits.any(1), hits.argmax(1) + 1, 0).astype(np.int32)
    return ranks


def score(
    items: NDArray[Any], targets: NDArray[Any], *, context: Context, cutoffs: Sequence[int]
) -> tuple[NDArray[np.int32], dict[str, float]]:
    """The target ranks [R] and all metrics of the rankings `items` [R, K].

    The metrics are those of `metrics.summary`, checked by `metrics.check_identity`, and of
    `list_measures.summary`.
    CheckError where a cutoff exceeds K.
    """
    ranks = target_ranks(items, targets)
    if max(cutoffs) > items.shape[1]:
        raise CheckError(f"cutoff {max(cutoffs)} exceeds the {items.shape[1]} places of the rankings")
    values = metrics.summary(ranks, cutoffs)
    metrics.check_identity(values)
    return ranks, values | list_measures.summary(items, context, cutoffs)
