"""Everything that a finished run's ranks and lists say at any cutoff, from its bundle alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recbench.comparison import significance
from recbench.comparison.compare import check_usable
from recbench.data import Floats, Ints
from recbench.errors import CheckError
from recbench.protocol import estimand
from recbench.results import list_measures, metrics, request_features, strata
from recbench.results.bundle import Bundle

# Stored means are written in full, but sums may have been added in another order.
TOLERANCE = 1e-9

Interval = dict[str, float]


def rescore(run: Bundle, cutoffs: Sequence[int], *, by_stratum: bool = False) -> dict[str, Any]:
    """`metrics` (means with 95 % intervals over users), `lists`, `certified_share`, `strata` if asked for.

    UsageError where a cutoff exceeds the stored depth; CheckError where the run is unusable, or records other
    metrics than its ranks give; MissingError where strata are asked for and the bundle has no context.
    """
    check_usable(run)
    _check_recorded(run)
    names = [f"{name}@{cutoff}" for cutoff in cutoffs for name in metrics.GAINS]
    values = {name: run.per_request(name) for name in names}
    has_context = by_stratum or (run.path / request_features.FILE).exists()
    surroundings = request_features.read(run) if has_context else None
    asking = run.user_numbers
    scores = {name: mean_interval(value, asking) for name, value in values.items()}
    metrics.check_identity({name: one["mean"] for name, one in scores.items()})
    found: dict[str, Any] = {
        "id": run.id,
        "label": run.label,
        "dataset": run.spec.fit.dataset,
        "num_requests": len(run.ranks),
        **({"num_users": run.num_users, "estimand": estimand(run.spec.protocol)} if run.repeated else {}),
        "metrics": scores,
        "lists": list_measures.summary(run.topk()["items"], surroundings, cutoffs) if surroundings else {},
        "certified_share": run.manifest.certified_share,
    }
    if by_stratum and surroundings is not None:
        found["strata"] = [
            {
                "name": one.name,
                "rule": one.rule,
                "num_requests": int(one.rows.sum()),
                "metrics": {
                    name: mean_interval(value[one.rows], None if asking is None else asking[one.rows])
                    for name, value in values.items()
                },
            }
            for one in strata.of(surroundings)
            if strata.num_users(one, run) > 1
        ]
    return found


def interval_of(run: Bundle, metric: str) -> Interval:
    """The mean of a metric over the run's requests, and its 95 % bootstrap interval over users."""
    return mean_interval(run.per_request(metric), run.user_numbers)


def mean_interval(values: Floats, users: Ints | None = None) -> Interval:
    """The same of values [R] of requests of the users with these numbers; None: nobody asks twice."""
    low, high = significance.bootstrap_interval(values, users)
    return {"mean": float(values.mean()), "low": low, "high": high}


def _check_recorded(run: Bundle) -> None:
    computed = metrics.summary(run.ranks, run.spec.protocol["cutoffs"])
    for name, value in computed.items():
        recorded = run.metrics.get(name, value)
        if abs(recorded - value) > TOLERANCE:
            raise CheckError(
                f"run {run.id} ({run.label}) records {name} = {recorded:.9g}",
                why=f"its ranks give {value:.9g}",
                fix="repeat it: recbench run with the same selection and --force",
            )
