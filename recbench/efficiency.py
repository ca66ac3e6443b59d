"""What a run costs when it is run alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def efficiency(fitted: Mapping[str, Any], ranked: Mapping[str, Any]) -> dict[str, Any]:
    """The stand-alone cost of a run: shared stages count in full, whoever happened to build them.

    `seconds.fit` is the method's own training, without the stages that were built on its way.
    """
    built = sum(fitted["stages"][name] for name in fitted["stages_built"])
    own = max(fitted["seconds"] - built, 0.0)
    stages = sum(fitted["stages"].values())
    counts = fitted["counts"]
    parameters = fitted["facts"].get("num_parameters", {})
    peaks = (fitted["peak"], ranked["peak"])
    gpu_peaks = [peak["gpu_bytes"] for peak in peaks if peak["gpu_bytes"] is not None]
    seconds = {"fit": own, "stages": stages, "rank": ranked["seconds"]}
    total = sum(seconds.values())
    return {
        "seconds": {**seconds, "total": total},
        "stage_seconds": fitted["stages"],
        "gpu_seconds": total if gpu_peaks else None,
        "steps": counts.get("steps"),
        "trained_tokens": counts.get("trained_tokens"),
        "generated_tokens": _sum_of(counts.get("generated_tokens"), ranked["stats"].get("generated_tokens")),
        "nodes_per_user": ranked["stats"].get("nodes_per_user"),
        "num_parameters": parameters.get("all"),
        "num_trainable": parameters.get("trainable"),
        "counts": counts,
        "rank_stats": ranked["stats"],
        "peak_host_bytes": max(peak["host_bytes"] for peak in peaks),
        "peak_gpu_bytes": max(gpu_peaks, default=None),
        "device": fitted["device"],
        "threads": fitted["threads"],
        "attempts": fitted["attempts"],
    }


def _sum_of(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
