"""The stand-alone cost of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recbench.results.fit_record import FitRecord, RankRecord
from recbench.running.costs.energy import MJ_PER_KWH
from recbench.stages import MILLIJOULES


def efficiency(fitted: FitRecord, ranked: RankRecord, parents: Sequence[FitRecord] = ()) -> dict[str, Any]:
    """The stand-alone cost of a run, as `efficiency.json` has it: shared stages and the fits that the run
    descends from count in full, whichever run made them.

    `parents` are the records of its parents' fits. `seconds.fit` is the method's own training, without the
    stages that were made on its way. Steps and tokens are totals over the fit and its parents.

    `trained_tokens` pass forward and backward. `forward_tokens` are those that a language model reads without
    a backward pass to make what is trained on: prompts and nodes of searches, generation, passes of
    references and teachers; not those that rank, measure a fit or choose among its weights, which every
    method has. `compute_tokens` weighs them alike: a backward pass costs as much as two forward ones.
    """
    stages: dict[str, float] = {}
    stage_counts: dict[str, Mapping[str, int]] = {}
    for record in (*parents, fitted):
        stages |= record.spent.stages
        stage_counts |= record.spent.stage_counts
    counts = [fitted.counts, *(parent.counts for parent in parents)]
    peaks = (fitted.peak, ranked.peak, *(parent.peak for parent in parents))
    gpu_peaks = [peak.gpu_bytes for peak in peaks if peak.gpu_bytes is not None]
    seconds = {
        "fit": fitted.spent.own_seconds,
        "parent": sum(parent.spent.own_seconds for parent in parents),
        "stages": sum(stages.values()),
        "rank": ranked.seconds,
    }
    total = sum(seconds.values())
    trained = _total("trained_tokens", counts)
    forward = _total("forward_tokens", [*counts, *stage_counts.values()])
    selection = _selection_seconds((fitted, *parents))
    return {
        "seconds": {**seconds, "total": total},
        "stage_seconds": stages,
        "gpu_seconds": _gpu_seconds(fitted, ranked, parents, stages=seconds["stages"]) if gpu_peaks else None,
        **_energy(fitted, ranked, parents),
        "steps": _total("steps", counts),
        "trained_tokens": trained,
        "forward_tokens": forward,
        "compute_tokens": None if trained is None or forward is None else 3 * trained + forward,
        "generated_tokens": _total("generated_tokens", [*counts, *stage_counts.values(), ranked.stats]),
        "nodes_per_user": ranked.stats.get("nodes_per_user"),
        "num_parameters": fitted.facts.num_parameters.get("all"),
        "num_trainable": fitted.facts.num_parameters.get("trainable"),
        "counts": fitted.counts,
        "rank_stats": ranked.stats,
        "selection_seconds": selection or None,
        "selection_share": selection / (seconds["fit"] + seconds["parent"]) if selection else None,
        "peak_host_bytes": max(peak.host_bytes for peak in peaks),
        "peak_gpu_bytes": max(gpu_peaks, default=None),
        "device": fitted.device,
        "threads": fitted.threads,
        "processes": fitted.processes,
        "attempts": fitted.spent.attempts,
    }


def _gpu_seconds(
    fitted: FitRecord, ranked: RankRecord, parents: Sequence[FitRecord], *, stages: float
) -> float:
    """Seconds of every GPU that was held; a stage is made by one process."""
    held = sum(record.spent.own_seconds * record.processes for record in (fitted, *parents))
    return float(held + stages + ranked.seconds * ranked.processes)


def _energy(fitted: FitRecord, ranked: RankRecord, parents: Sequence[FitRecord]) -> dict[str, Any]:
    """`energy_kwh` that the GPUs drew in the phases of `seconds`; nothing unless all of it was measured."""
    spent = [record.spent for record in (fitted, *parents)]
    stages = {
        name: record.stage_counts.get(name, {}).get(MILLIJOULES) for record in spent for name in record.stages
    }
    values = [*stages.values(), *(record.millijoules for record in spent), ranked.millijoules]
    if any(value is None for value in values):
        return {}
    own = [
        max(0, (record.millijoules or 0) - sum(stages[name] or 0 for name in record.stages_built))
        for record in spent
    ]
    drawn = {
        "fit": own[0],
        "parent": sum(own[1:]),
        "stages": sum(value or 0 for value in stages.values()),
        "rank": ranked.millijoules or 0,
    }
    kwh = {name: value / MJ_PER_KWH for name, value in drawn.items()}
    return {"energy_kwh": {**kwh, "total": sum(kwh.values())}}


def _selection_seconds(records: Sequence[FitRecord]) -> float:
    """Seconds in which the fits ranked validation requests to choose among their weights; part of `fit`."""
    stages = [stage for record in records for stage in record.facts.more.get("selection", {}).values()]
    return float(sum(stage["seconds"] for stage in stages))


def _total(name: str, counts: Sequence[Mapping[str, float]]) -> float | None:
    known = [count[name] for count in counts if count.get(name) is not None]
    return sum(known) if known else None
