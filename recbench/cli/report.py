"""Finished runs in a few columns, with intervals; and which runs a word on the command line means."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from recbench.cli.output import interval_text
from recbench.errors import DigestError, MissingError, UsageError, unknown_name

if TYPE_CHECKING:
    from recbench.bundle import Bundle
    from recbench.compare import Comparison
    from recbench.root import Root

INTERVAL_SEED = 0
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
    from recbench import significance

    values = one.per_request(metric)
    low, high = significance.bootstrap_interval(values, seed=INTERVAL_SEED)
    return {"mean": float(values.mean()), "low": low, "high": high}


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


def comparison_text(dataset: str, one: Comparison) -> str:
    """The difference and its interval before any p."""
    width = max(len(one.a), len(one.b))
    relative = "" if one.relative is None else f" ({one.relative:+.1%})"
    others = "".join(f"; {name} p = {p:.4g}" for name, p in one.other_p.items())
    size = "" if one.effect_size is None else f"effect size d_z = {one.effect_size:.3f}; "
    sides = ((one.a, one.mean_a, one.seeds_a), (one.b, one.mean_b, one.seeds_b))
    lines = [
        f"{one.metric} on {dataset}, {one.num_users:,} users",
        *(f"  {label:{width}}  {mean:.4f}{_seeds_text(seeds)}" for label, mean, seeds in sides),
        f"  difference {one.difference:+.4f}{relative}, 95 % interval [{one.low:+.4f}, {one.high:+.4f}]"
        f" ({one.interval})",
        f"  {one.test} p = {one.p:.4g}{others}",
        f"  {size}speaks of {one.scope}",
        *(f"  note: {note}" for note in one.notes),
    ]
    return "\n".join(lines)


def _seeds_text(seeds: Sequence[int | None]) -> str:
    named = [str(seed) for seed in seeds if seed is not None]
    return f"  (seed {', '.join(named)})" if named else ""


def all_bundles(root: Root) -> list[Bundle]:
    """Every finished run; one that has changed since is named on stderr and left out."""
    from recbench import bundle

    bundles = []
    for folder in bundle.find(root.runs):
        try:
            bundles.append(bundle.load(folder))
        except DigestError as error:
            typer.echo(f"warning: run {folder.name} is left out: {error.what} ({error.why})", err=True)
    return bundles


def find_run(root: Root, text: str) -> Bundle:
    """The run whose id is `text` or starts with it (at least four digits)."""
    from recbench import bundle

    folders = {folder.name: folder for folder in bundle.find(root.runs)}
    if not folders:
        raise MissingError(f"there are no runs under {root.runs}", mend=FIRST_RUN)
    matches = [name for name in folders if name == text or (len(text) >= 4 and name.startswith(text))]
    if len(matches) > 1:
        raise UsageError(f"'{text}' begins several run ids", why=", ".join(matches))
    if not matches:
        raise unknown_name("run", text, folders, mend="recbench list runs")
    return bundle.load(folders[matches[0]])


def is_run(root: Root, text: str) -> bool:
    from recbench import bundle

    return any(
        folder.name == text or (len(text) >= 4 and folder.name.startswith(text))
        for folder in bundle.find(root.runs)
    )


def sides(root: Root, first: str, second: str) -> list[tuple[list[Bundle], list[Bundle]]]:
    """The runs to compare: one pair for two run ids; for labels, one pair for each data set both ran on.

    A label stands for all its finished seeds. UsageError where one label names runs of different systems
    (backbone, paradigm, ranker) on the same data: then only run ids say which is meant.
    """
    if is_run(root, first) and is_run(root, second):
        return [([find_run(root, first)], [find_run(root, second)])]
    a, b = _by_data(root, first), _by_data(root, second)
    shared = [key for key in a if key in b]
    if not shared:
        # the comparison itself says which link of the data differs
        return [(next(iter(a.values())), next(iter(b.values())))]
    return [(a[key], b[key]) for key in shared]


def _by_data(root: Root, text: str) -> dict[tuple[str, ...], list[Bundle]]:
    """The finished runs that a label or a run id names, by what they were scored on."""
    if is_run(root, text):
        chosen = [find_run(root, text)]
    else:
        finished = [one for one in all_bundles(root) if one.status == "complete"]
        chosen = [one for one in finished if one.label == text]
        if not chosen:
            labels = {one.label for one in finished}
            raise unknown_name("run or method", text, labels, mend="recbench list runs")
    groups: dict[tuple[str, ...], list[Bundle]] = {}
    for one in chosen:
        fit = one.spec.fit
        groups.setdefault((fit.dataset, fit.split, str(one.spec.protocol), one.spec.phase), []).append(one)
    for group in groups.values():
        _refuse_mixed(text, group)
    return groups


def _refuse_mixed(text: str, group: Sequence[Bundle]) -> None:
    seeds = [one.seed for one in group]
    if len(set(seeds)) < len(seeds):
        raise UsageError(
            f"'{text}' names runs of different systems on {group[0].spec.fit.dataset}",
            why=", ".join(f"{one.id} ({_system(one)})" for one in group),
            mend=f"recbench compare {group[0].id} {group[1].id}",
        )


def _system(one: Bundle) -> str:
    llm, ranker = one.spec.fit.llm or {}, one.spec.ranker or {}
    parts = (llm.get("backbone"), llm.get("paradigm"), ranker.get("name"), f"seed {one.seed}")
    return ", ".join(str(part) for part in parts if part)
