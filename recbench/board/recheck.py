"""What a run recorded, computed again: from its own files, and from the split that it was ranked on.

Every function returns what is wrong, in words; an empty list means that everything came out the same. The
seals are no part of this: whoever changes a number can make them again. R requests, K places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from recbench.dataset import split
from recbench.dataset.split import PreparedSplit
from recbench.errors import CheckError
from recbench.ranking import Ranking
from recbench.results import evaluate, list_measures, metrics, request_features, top_lists
from recbench.results.bundle import Bundle
from recbench.results.evaluate import EvaluationSet
from recbench.results.request_features import Context

# Stored means are written in full, but sums may have been added in another order.
TOLERANCE = 1e-9
LINKS = ("log", "split", "catalogue")
"""The digests that the data decide; `raw` also changes with the format in which they are read."""


def from_itself(run: Bundle) -> list[str]:
    """Compare the files of a run with each other. Needs no data."""
    items, wrong = top_lists.lists_of(run), []
    if run.manifest.num_requests != len(run.ranks) or len(run.users) != len(run.ranks):
        wrong.append(
            f"requests: the manifest has {run.manifest.num_requests}, with {len(run.ranks)} ranks of "
            f"{len(run.users)} users"
        )
    wrong += _differing_metrics(run, metrics.summary(run.ranks, _cutoffs(run)), "its ranks give")
    has_context = (run.path / request_features.FILE).exists()
    if items is not None and has_context:
        wrong += _lists_against(run, items, request_features.read(run))
    if (run.path / "topk.npz").exists():
        wrong += _whole_lists(run)
    return wrong


def from_split(run: Bundle, prepared: PreparedSplit) -> list[str]:
    """Compare a run with the split's targets and requests: digests, users, lists, ranks, list measures."""
    recorded = [(link, run.digests.get(link)) for link in LINKS] + [("split", run.spec.fit.split)]
    wrong = [
        f"digest {link}: recorded is {_cut(digest)}, the data give {_cut(prepared.digests[link])}"
        for link, digest in recorded
        if digest != prepared.digests[link]
    ]
    asked = EvaluationSet.load(prepared.folder, run.spec.phase)
    if list(run.users) != list(asked.users):
        return [*wrong, f"users: the run has {len(run.users)}, and the split asks {len(asked.users)} others"]
    items = top_lists.lists_of(run)
    if items is None:
        return wrong
    targets = split.load_targets(prepared.folder, run.spec.phase)
    requests = asked.requests
    if not run.spec.protocol["exclude_seen"]:
        requests = replace(requests, excluded=None)
    try:
        Ranking(items=items.astype(np.int64)).check(
            requests, num_items=len(asked.catalogue), depth=items.shape[1], users=asked.users
        )
    except CheckError as error:
        return [*wrong, f"lists: {error.what}"]
    wrong += _differing_ranks(run, evaluate.target_ranks(items, targets), items.shape[1])
    context = request_features.context_of(asked.catalogue, asked.requests, targets)
    if (run.path / request_features.FILE).exists():
        kept = asdict(request_features.read(run))
        wrong += [
            f"{request_features.FILE}: {name} is not what the split gives"
            for name, values in asdict(context).items()
            if not np.array_equal(values, kept[name])
        ]
    measures = list_measures.summary(items, context, _cutoffs(run, items.shape[1]))
    return [*wrong, *_differing_metrics(run, measures, "its lists give")]


def _lists_against(run: Bundle, items: NDArray[np.int32], context: Context) -> list[str]:
    """The list measures, and the popularity of the item at the target's rank, which is the target's."""
    cutoffs = _cutoffs(run, items.shape[1])
    wrong = _differing_metrics(run, list_measures.summary(items, context, cutoffs), "its lists give")
    found = np.flatnonzero((run.ranks > 0) & (run.ranks <= items.shape[1]))
    there = items[found, run.ranks[found] - 1]
    other = (there < 0) | (context.item_popularity[there] != context.target_popularity[found])
    if other.any():
        row = int(found[np.argmax(other)])
        wrong.append(
            f"ranks: at rank {run.ranks[row]} the list of user '{run.users[row]}' has an item of another "
            f"popularity than the target's; so have {int(other.sum())} lists in all"
        )
    return wrong


def _whole_lists(run: Bundle) -> list[str]:
    topk, first = run.topk(), top_lists.read(run.path)
    wrong = []
    if first is not None and not np.array_equal(first, topk["items"][:, : first.shape[1]]):
        wrong.append(f"lists: {top_lists.FILE} has other items than topk.npz")
    certified, share = topk.get("certified"), run.manifest.certified_share
    given = None if certified is None else float(certified.mean())
    if (given is None) != (share is None) or abs((given or 0.0) - (share or 0.0)) > TOLERANCE:
        wrong.append(f"certificate: recorded are {_share(share)} of the lists, marked are {_share(given)}")
    return wrong


def _differing_ranks(run: Bundle, ranks: NDArray[np.int32], depth: int) -> list[str]:
    """`ranks` are those of lists of `depth` places, which may be shorter than the run's."""
    recorded = np.where(run.ranks <= depth, run.ranks, 0)
    differ = np.flatnonzero(recorded != ranks)
    if not len(differ):
        return []
    row = int(differ[0])
    return [
        f"ranks: user '{run.users[row]}' has rank {run.ranks[row]}, and the target is at {ranks[row]} of the "
        f"list (0: not in the first {depth}); so do {len(differ)} users in all"
    ]


def _differing_metrics(run: Bundle, computed: Mapping[str, float], source: str) -> list[str]:
    return [
        f"metric {name}: recorded is {run.metrics.get(name)}, {source} {value:.9g}"
        for name, value in computed.items()
        if name not in run.metrics or not abs(run.metrics[name] - value) <= TOLERANCE
    ]


def _cutoffs(run: Bundle, depth: int | None = None) -> Sequence[int]:
    return [cutoff for cutoff in run.spec.protocol["cutoffs"] if depth is None or cutoff <= depth]


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.2%}"


def _cut(digest: object) -> str:
    return str(digest)[:12]
