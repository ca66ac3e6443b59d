"""`recbench score` and `recbench verify`: what finished runs record, computed again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recbench.cli._options import JsonOption, RankedAgainOption, RootOption, find_root
from recbench.cli.reference import completion
from recbench.errors import CheckError, DigestError, UsageError

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.verification.splits import Splits
    from recbench.verification.verdict import Verdict

EXPOSURE = (
    "gaps of lists to histories by category (pop: by popularity), repetition; 95 % intervals over requests"
)


def score(
    run: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Ids of finished runs.",
            autocompletion=completion.runs,
        ),
    ],
    k: Annotated[str, typer.Option("--k", help="Cut-offs.")] = "1,5,10,20",
    strata: Annotated[
        bool, typer.Option("--strata", help="Also by popularity of the target and length of the history.")
    ] = False,
    exposure: Annotated[
        bool,
        typer.Option(
            "--exposure", help="Also categories and popularity against histories, repetition, seen items."
        ),
    ] = False,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME[:KEY=VALUE]",
            help="Also a metric of another package (recbench list metrics), recorded beside the run.",
            autocompletion=completion.outside_metrics,
        ),
    ] = None,
    per_user: Annotated[
        Path | None,
        typer.Option(
            "--per-user", help="Write one line for each run and user to this .csv or .parquet file."
        ),
    ] = None,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Compute metrics again from the ranks and lists of finished runs, at any cut-off up to their depth."""
    from recbench.api.measuring import measure_and_record
    from recbench.cli._output import echo, interval_text, print_json, print_table
    from recbench.comparison.rescore import rescore
    from recbench.results.exposure.of_run import exposure_of
    from recbench.results.lookup import find_run

    place = find_root(root)
    cutoffs = _cutoffs(k)
    runs = [find_run(place.runs, text) for text in run]
    records = [rescore(one, cutoffs, by_stratum=strata) for one in runs]
    for one, record in zip(runs, records, strict=True) if exposure else ():
        record["exposure"] = exposure_of(one, cutoffs, cache=place.cache)
    for one, record in zip(runs, records, strict=True) if metric else ():
        record["outside"] = [measure_and_record(one, asked, cutoffs, place.path) for asked in metric or ()]
    if per_user is not None:
        from recbench.exchange import per_user_file

        lines = per_user_file.write(per_user, runs, cutoffs)
        echo(f"wrote {lines:,} lines to {per_user}", err=True)
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
    if exposure:
        found = [record["exposure"] for record in records]
        rows = [
            [name, *(interval_text(**one[name]) if name in one else None for one in found)]
            for name in dict.fromkeys(name for one in found for name in one)
        ]
        print_table(["exposure", *heads], rows, title=EXPOSURE)
    if metric:
        print_table(["metrics of other packages", *heads], _outside_rows([one["outside"] for one in records]))
    for record, head in zip(records, heads, strict=True) if strata else ():
        for group in record["strata"]:
            rows = [[name, interval_text(**mean)] for name, mean in group["metrics"].items()]
            title = f"{group['name']}: {group['rule']}, {group['num_requests']:,} requests"
            print_table(["metric", head], rows, title=title)


def _outside_rows(found: Sequence[Sequence[Mapping[str, Any]]]) -> list[list[str]]:
    """A line for each metric and cut-off, a column for each run; all runs have the same ones."""
    from recbench.cli._output import interval_text

    def text(value: Mapping[str, Any]) -> str:
        return interval_text(**value) if value["low"] is not None else f"{value['mean']:.4f}"

    return [
        [f"{one['label']}@{k} of {one['whose']}", *(text(run[number]["values"][k]) for run in found)]
        for number, one in enumerate(found[0])
        for k in one["values"]
    ]


def _cutoffs(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(re.fullmatch("[0-9]{1,6}", part) and int(part) > 0 for part in parts):
        raise UsageError(f"--k '{text}' is not a list of positive numbers", fix="--k 1,5,10")
    return sorted({int(part) for part in parts})


def verify(
    target: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|BOARD",
            help="Ids of runs, or names of boards.",
            autocompletion=completion.runs_and_boards,
        ),
    ],
    users: RankedAgainOption = 64,
    root: RootOption = None,
    json: JsonOption = False,
) -> None:
    """Compute ranks, metrics and certificates of runs again from lists, data and weights; exit 5 if wrong."""
    from recbench.base.files import scratch
    from recbench.cli._output import echo, print_json
    from recbench.verification.splits import Splits

    place = find_root(root)
    with scratch() as folder:
        splits = Splits(place, Path(folder))
        verdicts = [found for text in target for found in _verified(text, place, splits, users)]
    if json:
        print_json([verdict.to_json() for verdict in verdicts])
    for verdict in verdicts if not json else ():
        echo(f"{verdict.run}  {verdict.label}: {'as recorded' if verdict.is_sound else 'NOT as recorded'}")
        for name in ("checked", "unchecked", "wrong"):
            for line in getattr(verdict, name):
                echo(f"  {'not checked' if name == 'unchecked' else name}: {line}")
    broken = [verdict for verdict in verdicts if not verdict.is_sound]
    if broken:
        raise CheckError(
            f"{len(broken)} of {len(verdicts)} runs are not what they record",
            why="; ".join(f"{verdict.run} {verdict.wrong[0]}" for verdict in broken),
            fix="repeat them: recbench run with the same selection and --force",
        )


def _verified(text: str, root: Root, splits: Splits, users: int) -> list[Verdict]:
    from recbench.results.lookup import find_run
    from recbench.verification import board, run
    from recbench.verification.verdict import Verdict

    folder = root.path / "leaderboards" / text
    if (folder / "board.json").is_file():
        return board.verify(folder, root, splits, users=users)
    try:
        return [run.verify(find_run(root.runs, text), root, splits, users=users)]
    except DigestError as error:
        return [Verdict(run=text, label="", wrong=[f"seal: {error.what} ({error.why})"])]
