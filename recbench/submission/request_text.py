"""The text of a pull request: what a maintainer must know of a submission before it is merged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, metadata

from recbench.base.words import plural
from recbench.board import commands
from recbench.board.headline import headline, standing
from recbench.board.model import BoardRow, Table
from recbench.board.render import text
from recbench.board.render.cells import brief_grid
from recbench.board.render.markdown import escaped, grid_text
from recbench.results.bundle import Bundle
from recbench.submission.compose import Submission
from recbench.verification.board import summary

SHOWN = {
    "seeds": ("seeds", "runs"),
    "tuning": ("budget", "values that are not defaults"),
    "code": ("method", "harness", "libraries"),
    "hardware": ("machine", "device"),
    "cost": ("seconds, parent and stages included", "trained tokens"),
}
"""What of a row's checklist the text says; the board has the rest."""
TO_SAY = "<!-- What is new in these rows? Where can the method's code and its paper be read? -->"
PROMISES = (
    "the ids of the users and their ranks may be published",
    "nothing was trained on, or chosen by, the test items",
    "the method's code can be read at the address above",
)
"""That no program can check."""


def request_text(found: Submission, budgets: Mapping[str, str]) -> str:
    """Markdown. `budgets` says of each run that comes how its parameters were found."""
    rows = list(_rows(found))
    parts = [f"# {title(found)}", TO_SAY, _summary(found)]
    for table in _tables(found):
        new = [row for one, row in rows if one is table]
        parts += ["## " + escaped(text.title(table)), *_results(found, table, new)]
    parts.append("## How the rows were made")
    for table, row in rows:
        parts += [f"### {escaped(table.title_of(row))}, {table.dataset}", _made(row, table, budgets)]
    if where := addresses(found.choice.runs):
        parts += ["## Where the code is", _list(map(escaped, where))]
    parts += ["## What was checked", *_checks(found)]
    parts += ["## Deviations", _list([escaped(line) for line in deviations(found)] or ["none"])]
    parts += ["## Before it is merged", _list([f"[ ] {line}" for line in PROMISES])]
    parts.append(
        f"In a checkout, with the data here:\n\n    recbench leaderboard check {found.name}\n"
        f"    recbench verify {found.name}"
    )
    return "\n\n".join(parts) + "\n"


def title(found: Submission) -> str:
    labels = dict.fromkeys(run.label for run in found.choice.runs)
    return f"leaderboards: add {', '.join(labels)} to {found.name}"


def deviations(found: Submission) -> list[str]:
    """What is not as on the rest of the board, or not as it should be."""
    left_out = [
        f"{one.label} on {one.dataset} ({one.id}) stands on no table: {one.why}"
        for one in found.board.excluded
        if one.id in found.ids
    ]
    others = [
        f"run {run}, which the board had, has {plural(count, 'other rank')} here; the board's own is kept"
        for run, count in found.other_ranks.items()
        if count
    ]
    of_rows = [line for table, row in _rows(found) for line in _of_row(row, table)]
    of_tables = [
        f"not the same for all runs on {table.dataset}: {key}: {' | '.join(values)}"
        for table in _tables(found)
        for key, values in sorted(table.differs.items())
    ]
    of_runs = [
        f"{run.label}, seed {run.seed} ({run.id}): {line}"
        for run in found.choice.runs
        for line in _of_run(run)
    ]
    missing = [f"missing: {line}" for line in found.board.missing]
    return [*left_out, *missing, *others, *of_rows, *of_tables, *of_runs]


def _of_row(row: BoardRow, table: Table) -> Iterator[str]:
    if row.checkpoints_only:
        yield f"{row.name}: these checkpoints only; nothing is said about other seeds"
    if row.uncertified:
        yield f"{row.name}: more than 1 % of its rankings are not certified to equal exhaustive scoring"
    yield from (note for note in table.notes if note.startswith(f"{row.name}: "))


def _of_run(run: Bundle) -> Iterator[str]:
    manifest = run.manifest
    if manifest.did_not_train:
        yield "its policy hardly moved from its parent"
    if manifest.code.get("dirty"):
        yield f"made by recbench with changes that commit {str(manifest.code['commit'])[:12]} does not have"
    if manifest.method_code is not None and manifest.method_code.dirty:
        yield "made by code of the method that no commit has"
    yield from (f"warning: {line}" for line in run.warnings())


def _rows(found: Submission) -> Iterator[tuple[Table, BoardRow]]:
    """Those that have a run that comes."""
    for table in found.board.tables:
        yield from ((table, row) for row in table.rows if found.ids.intersection(row.runs))


def _tables(found: Submission) -> list[Table]:
    return [table for table in found.board.tables if any(table is one for one, _ in _rows(found))]


def _summary(found: Submission) -> str:
    total, new = len(found.board.records), len(found.ids)
    lines = [
        f"Adds {plural(new, 'run')} to `leaderboards/{found.name}`, which then has {plural(total, 'record')}."
    ]
    if found.choice.methods:
        named = ", ".join(f"`{name}`" for name in found.choice.methods)
        lines.append(f"Its `study.toml` asks for {named} from now on.")
    if found.cards:
        lines.append("New cards: " + ", ".join(f"`datasets/{name}.toml`" for name in found.cards) + ".")
    return " ".join(lines)


def _results(found: Submission, table: Table, new: Sequence[BoardRow]) -> list[str]:
    columns, cells = brief_grid(table, found.board.metric, found.board.pairs)
    head = ["", *(column.text for column in columns)]
    lines = [
        ["new" if row in new else "", *(cell.text for cell in line)]
        for row, line in zip(table.rows, cells, strict=True)
    ]
    names = [table.title_of(row) for row in new]
    full = [
        text.difference_line(row, name, difference, table)
        for row, name, difference in text.shown(table)
        if table.title_of(row) in names
    ]
    answer = [f"**{escaped(headline(table, found.board))}**", escaped(standing(table, found.board))]
    return [*filter(None, answer), grid_text(head, lines), *([_list(map(escaped, full))] if full else [])]


def _made(row: BoardRow, table: Table, budgets: Mapping[str, str]) -> str:
    entries = {(one.topic, one.variable): one.value for one in row.checklist}
    budget = " | ".join(dict.fromkeys(budgets[run] for run in row.runs if run in budgets))
    if budget:
        entries["tuning", "budget"] = budget
    lines = [
        f"{topic if variable in ('seeds', topic) else f'{topic}, {variable}'}: {escaped(value)}"
        for topic, variables in SHOWN.items()
        for variable in variables
        if (value := entries.get((topic, variable)))
    ]
    again = commands.again(row, table)
    return _list([*lines, *([f"again: `{again}`"] if again else [])])


def addresses(runs: Sequence[Bundle]) -> list[str]:
    """Where the packages of the runs' methods say that they can be read."""
    codes = [run.manifest.method_code for run in runs]
    found = []
    for name in dict.fromkeys(code.distribution for code in codes if code is not None):
        try:
            about = metadata(name)
        except PackageNotFoundError:
            continue
        urls = [*(about.get_all("Project-URL") or []), *(about.get_all("Home-page") or [])]
        found.append(f"{name}: {'; '.join(urls) or 'its package names no address'}")
    return found


def _checks(found: Submission) -> list[str]:
    """What `leaderboard check` and `verify` said; of the runs that come and of the others apart."""
    rows = sum(len(table.rows) for table in found.board.tables)
    total = plural(len(found.board.records), "record")
    new = [verdict for verdict in found.verdicts if verdict.run in found.ids]
    others = [verdict for verdict in found.verdicts if verdict.run not in found.ids]
    parts = [
        "On the machine of the submission; the two commands below say it on another.",
        f"`recbench leaderboard check {found.name}`: {plural(rows, 'row')} from {total}, as recorded.",
    ]
    for whose, verdicts in (("the runs that come", new), ("the other runs", others)):
        if verdicts:
            lines = [escaped(line) for line in summary(verdicts)]
            parts += [f"`recbench verify {found.name}`, {whose}:", _list(lines)]
    return parts


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
