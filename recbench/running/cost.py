"""What a run costs when it is run alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def efficiency(
    fitted: Mapping[str, Any], ranked: Mapping[str, Any], parents: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """The stand-alone cost of a run: shared stages and the fits that it descends from count in full, whoever
    happened to make them.

    `fitted`, `ranked` and `parents` are the records of its fit, its ranking and its parents' fits.
    `seconds.fit` is the method's own training, without the stages that were built on its way. Steps and
    tokens are totals over the fit and its parents.
    """
    stages: dict[str, float] = {}
    stage_counts: dict[str, Mapping[str, int]] = {}
    for record in (*parents, fitted):
        stages |= record["stages"]
        stage_counts |= record.get("stage_counts", {})
    counts = [fitted["counts"], *(parent["counts"] for parent in parents)]
    parameters = fitted["facts"].get("num_parameters", {})
    peaks = (fitted["peak"], ranked["peak"], *(parent["peak"] for parent in parents))
    gpu_peaks = [peak["gpu_bytes"] for peak in peaks if peak["gpu_bytes"] is not None]
    seconds = {
        "fit": _own_seconds(fitted),
        "parent": sum(map(_own_seconds, parents)),
        "stages": sum(stages.values()),
        "rank": ranked["seconds"],
    }
    total = sum(seconds.values())
    return {
        "seconds": {**seconds, "total": total},
        "stage_seconds": stages,
        "gpu_seconds": _gpu_seconds(fitted, ranked, parents, stages=seconds["stages"]) if gpu_peaks else None,
        "steps": _total("steps", counts),
        "trained_tokens": _total("trained_tokens", counts),
        "generated_tokens": _total("generated_tokens", [*counts, *stage_counts.values(), ranked["stats"]]),
        "nodes_per_user": ranked["stats"].get("nodes_per_user"),
        "num_parameters": parameters.get("all"),
        "num_trainable": parameters.get("trainable"),
        "counts": fitted["counts"],
        "rank_stats": ranked["stats"],
        "peak_host_bytes": max(peak["host_bytes"] for peak in peaks),
        "peak_gpu_bytes": max(gpu_peaks, default=None),
        "device": fitted["device"],
        "threads": fitted["threads"],
        "processes": fitted.get("processes", 1),
        "attempts": fitted["attempts"],
    }


def _gpu_seconds(
    fitted: Mapping[str, Any],
    ranked: Mapping[str, Any],
    parents: Sequence[Mapping[str, Any]],
    *,
    stages: float,
) -> float:
    """Seconds of every GPU that was held; a stage is made by one process."""
    held = sum(_own_seconds(one) * one.get("processes", 1) for one in (fitted, *parents))
    return float(held + stages + ranked["seconds"] * ranked.get("processes", 1))


def _own_seconds(fitted: Mapping[str, Any]) -> float:
    built = sum(fitted["stages"][name] for name in fitted["stages_built"])
    return float(max(fitted["seconds"] - built, 0.0))


def _total(name: str, counts: Sequence[Mapping[str, float]]) -> float | None:
    known = [one[name] for one in counts if one.get(name) is not None]
    return sum(known) if known else None
