"""How finished runs appear on the terminal and as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recbench.cli._output import interval_text, warn

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.results.bundle import Bundle


def headline(bundles: Sequence[Bundle]) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of a table with one line for each finished run."""
    shown = ("hr", "ndcg")
    cutoffs = bundles[0].spec.protocol["cutoffs"]
    cutoff = 10 if 10 in cutoffs else max(cutoffs)
    columns = ["run", "method", "dataset", "seed", *(f"{m}@{cutoff}" for m in shown), "certified", "seconds"]
    rows: list[list[object]] = []
    for run in bundles:
        spec = run.spec.fit
        scores = [interval_text(**mean_interval(run, f"{metric}@{cutoff}")) for metric in shown]
        seconds = run.efficiency.get("seconds", {}).get("total")  # unknown for a ranking made elsewhere
        rows.append(
            [
                run.id,
                run.label,
                spec.dataset,
                spec.seed,
                *scores,
                certified_text(run),
                "-" if seconds is None else f"{seconds:.1f}",
            ]
        )
    return columns, rows


def task_lines(bundles: Sequence[Bundle]) -> list[str]:
    """A line for each row that was trained on several tasks, with what each has of the tokens."""
    found = {run.label: tasks for run in bundles if (tasks := run.manifest.facts.more.get("tasks"))}
    lines = []
    for label, tasks in found.items():
        largest = sorted(tasks.items(), key=lambda one: -one[1]["share"])
        shares = ", ".join(f"{name} {own['share']:.0%}" for name, own in largest)
        lines.append(f"tasks of {label}, by tokens: {shares}")
    return lines


def certified_text(run: Bundle) -> str:
    """The share of requests whose top-K provably equals exhaustive scoring."""
    share = run.manifest.certified_share
    return "-" if share is None else f"{share:.1%}"


def mean_interval(run: Bundle, metric: str) -> dict[str, float]:
    """Mean of a metric over the run's requests, and its 95 % bootstrap interval over users."""
    from recbench.comparison import rescore

    return rescore.interval_of(run, metric)


def run_record(run: Bundle) -> dict[str, Any]:
    """A run as a JSON value for programs."""
    cutoffs = run.spec.protocol["cutoffs"]
    intervals = {}
    if run.status == "complete":
        for metric in (f"{name}@{k}" for name in ("hr", "ndcg") for k in cutoffs):
            intervals[metric] = mean_interval(run, metric)
    return {
        "id": run.id,
        "fit_id": run.spec.fit.id,
        "label": run.label,
        "dataset": run.spec.fit.dataset,
        "protocol": run.spec.protocol["name"],
        "phase": run.spec.phase,
        "seed": run.seed,
        "status": run.status,
        "reason": run.reason,
        "metrics": dict(run.metrics),
        "intervals": intervals,
        "certified_share": run.manifest.certified_share,
        "efficiency": dict(run.efficiency),
        "off_protocol": run.manifest.off_protocol,
        "external": run.manifest.external,
        "folder": str(run.path),
    }


def next_command(bundles: Sequence[Bundle]) -> str:
    """Compare where two methods ran on the same data, else build the board, on which no run of a part of the
    users stands."""
    first = bundles[0]
    for other in bundles[1:]:
        same_data = other.spec.fit.split == first.spec.fit.split
        if same_data and other.label != first.label:
            return f"recbench compare {shlex.quote(other.label)} {shlex.quote(first.label)}"
    if all(run.spec.fit.limit_users for run in bundles):
        return f"recbench show {first.id}"
    return "recbench leaderboard build"


def all_bundles(root: Root) -> list[Bundle]:
    """Every run of the root; a run that has changed since it was sealed is named on stderr and left out."""
    from recbench.results.lookup import every_run

    return every_run(root.runs, warn)
