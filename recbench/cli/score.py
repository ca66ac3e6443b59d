"""`recbench score`: metrics of finished runs, computed again from their ranks. Needs no torch."""

from __future__ import annotations

from typing import Annotated

import typer

from recbench.cli._options import JsonOption, RootOption, find_root
from recbench.errors import UsageError


def score(
    run: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids of finished runs.")],
    k: Annotated[str, typer.Option("--k", help="Cut-offs.")] = "1,5,10,20",
    strata: Annotated[
        bool, typer.Option("--strata", help="Also by popularity of the target and length of the history.")
    ] = False,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Compute metrics again from the ranks and lists of finished runs, at any cut-off up to their depth."""
    from recbench.cli._output import interval_text, print_json, print_table
    from recbench.comparison.rescore import rescore
    from recbench.results.lookup import find_run

    place = find_root(root)
    cutoffs = _cutoffs(k)
    records = [rescore(find_run(place.runs, text), cutoffs, by_stratum=strata) for text in run]
    if json:
        print_json(records)
        return
    heads = [f"{record['label']} {record['id']}" for record in records]
    rows = [
        [name, *(interval_text(**record["metrics"][name]) for record in records)]
        for name in records[0]["metrics"]
    ]
    print_table(["metric", *heads], rows, title="means with 95 % intervals over users; recall@K is hr@K")
    measures = dict.fromkeys(name for record in records for name in record["lists"])
    rows = [[name, *(record["lists"].get(name) for record in records)] for name in measures]
    rows += [["certified", *(record["certified_share"] for record in records)]]
    print_table(["lists", *heads], rows)
    for record, head in zip(records, heads, strict=True) if strata else ():
        for group in record["strata"]:
            rows = [[name, interval_text(**mean)] for name, mean in group["metrics"].items()]
            title = f"{group['name']}: {group['rule']}, {group['num_requests']:,} requests"
            print_table(["metric", head], rows, title=title)


def _cutoffs(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"--k '{text}' is not a list of positive numbers", fix="--k 1,5,10")
    return sorted({int(part) for part in parts})
