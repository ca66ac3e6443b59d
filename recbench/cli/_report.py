"""Finished runs in a few columns, with intervals; and which runs a word on the command line means."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from recbench.cli._output import interval_text
from recbench.errors import DigestError, MissingError, UsageError, unknown_name

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.results.bundle import Bundle

FIRST_RUN = "recbench run -m popularity -d ml-100k"


def headline(bundles: Sequence[Bundle]) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of a table with one line for each finished run."""
    shown = ("hr", "ndcg")
    cutoffs = bundles[0].spec.protocol["cutoffs"]
    cutoff = 10 if 10 in cutoffs else max(cutoffs)
    columns = ["run", "method", "dataset", "seed", *(f"{m}@{cutoff}" for m in shown), "certified", "seconds"]
    rows: list[list[object]] = []
    for one in bundles:
        spec = one.spec.fit
        scores = [interval_text(**mean_interval(one, f"{metric}@{cutoff}")) for metric in shown]
        seconds = one.efficiency.get("seconds", {}).get("total")  # unknown for a ranking made elsewhere
        rows.append(
            [
                one.id,
                one.label,
                spec.dataset,
                spec.seed,
                *scores,
                certified_text(one),
                "-" if seconds is None else f"{seconds:.1f}",
            ]
        )
    return columns, rows


def certified_text(one: Bundle) -> str:
    """The share of requests whose top-K provably equals exhaustive scoring."""
    share = one.manifest.get("certified_share")
    return "-" if share is None else f"{share:.1%}"


def mean_interval(one: Bundle, metric: str) -> dict[str, float]:
    """Mean of a metric over the run's users, and its 95 % bootstrap interval."""
    from recbench.comparison import rescore

    return rescore.mean_interval(one.per_request(metric))


def run_record(one: Bundle) -> dict[str, Any]:
    """A run as a JSON value for programs."""
    cutoffs = one.spec.protocol["cutoffs"]
    intervals = {}
    if one.status == "complete":
        for metric in (f"{name}@{k}" for name in ("hr", "ndcg") for k in cutoffs):
            intervals[metric] = mean_interval(one, metric)
    return {
        "id": one.id,
        "fit_id": one.spec.fit.id,
        "label": one.label,
        "dataset": one.spec.fit.dataset,
        "protocol": one.spec.protocol["name"],
        "phase": one.spec.phase,
        "seed": one.seed,
        "status": one.status,
        "reason": one.reason,
        "metrics": dict(one.metrics),
        "intervals": intervals,
        "certified_share": one.manifest.get("certified_share"),
        "efficiency": dict(one.efficiency),
        "off_protocol": one.manifest.get("off_protocol", False),
        "external": one.manifest.get("external", False),
        "folder": str(one.path),
    }


def next_command(bundles: Sequence[Bundle]) -> str:
    """Compare where two methods ran on the same data, else build the board."""
    first = bundles[0]
    for other in bundles[1:]:
        same_data = other.spec.fit.split == first.spec.fit.split
        if same_data and other.label != first.label:
            return f"recbench compare {shlex.quote(other.label)} {shlex.quote(first.label)}"
    return "recbench leaderboard build"


def all_bundles(root: Root) -> list[Bundle]:
    """Every finished run; one that has changed since is named on stderr and left out."""
    from recbench.results import bundle

    bundles = []
    for folder in bundle.find(root.runs):
        try:
            bundles.append(bundle.load(folder))
        except DigestError as error:
            typer.echo(f"warning: run {folder.name} is left out: {error.what} ({error.why})", err=True)
    return bundles


def find_run(root: Root, text: str) -> Bundle:
    """The run whose id is `text` or starts with it (at least four digits)."""
    from recbench.results import bundle

    folders = {folder.name: folder for folder in bundle.find(root.runs)}
    if not folders:
        raise MissingError(f"there are no runs under {root.runs}", fix=FIRST_RUN)
    matches = [name for name in folders if name == text or (len(text) >= 4 and name.startswith(text))]
    if len(matches) > 1:
        raise UsageError(f"'{text}' begins several run ids", why=", ".join(matches))
    if not matches:
        raise unknown_name("run", text, folders, fix="recbench list runs")
    return bundle.load(folders[matches[0]])


def is_run(root: Root, text: str) -> bool:
    from recbench.results import bundle

    return any(
        folder.name == text or (len(text) >= 4 and folder.name.startswith(text))
        for folder in bundle.find(root.runs)
    )
