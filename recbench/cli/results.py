"""Commands that read finished runs: compare, score. None of them needs torch."""

from __future__ import annotations

from typing import Annotated

import typer

from recbench.cli.options import PRIMARY_METRIC, JsonOption, MetricOption, RootOption, find_root
from recbench.errors import UsageError


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="Run id, or method as on a board.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Run id, or method as on a board.")],
    metric: MetricOption = PRIMARY_METRIC,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Is A better than B on the same users, and is the difference more than noise?"""
    from dataclasses import asdict

    from recbench import compare as comparison
    from recbench.cli.output import print_json
    from recbench.cli.report import comparison_text, sides

    pairs = sides(find_root(root), first, second)
    found = [(a[0].spec.fit.dataset, comparison.compare(a, b, metric)) for a, b in pairs]
    if json:
        print_json([{"dataset": dataset, **asdict(one)} for dataset, one in found])
        return
    for dataset, one in found:
        typer.echo(comparison_text(dataset, one))


def score(
    run: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids of finished runs.")],
    k: Annotated[str, typer.Option("--k", help="Cut-offs.")] = "1,5,10,20",
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Compute metrics again from the ranks that runs have left, at any cut-off up to their depth."""
    from recbench.cli.output import interval_text, print_json, print_table
    from recbench.cli.report import find_run, mean_interval

    place = find_root(root)
    cutoffs = _cutoffs(k)
    names = [f"{metric}@{cutoff}" for cutoff in cutoffs for metric in ("hr", "ndcg", "mrr")]
    scores = {}
    for one in (find_run(place, text) for text in run):
        if one.status == "failed":
            raise UsageError(f"run {one.id} failed, so it has no ranks", mend=f"recbench show {one.id}")
        scores[one.id] = {name: mean_interval(one, name) for name in names}
    if json:
        print_json([{"id": run_id, "metrics": found} for run_id, found in scores.items()])
        return
    rows = [[name, *(interval_text(**s[name]) for s in scores.values())] for name in names]
    print_table(["metric", *scores], rows, title="means with 95 % intervals over users")


def _cutoffs(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"--k '{text}' is not a list of positive numbers", mend="--k 1,5,10")
    return sorted({int(part) for part in parts})
