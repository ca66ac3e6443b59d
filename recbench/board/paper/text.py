"""A paper's table beside ours in words: its cells as lines, its counts, and the commands that fill it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from recbench.board.paper.floors import FLOORS, Floor, measured
from recbench.board.paper.published import ANY, NO_METHOD, PaperRow, PaperTable
from recbench.board.paper.reproduce import Agreement, OurNumber, PaperCell

COLUMNS = (
    "method",
    "metric",
    "published",
    "ours",
    "ratio",
    "verdict",
    "published gain",
    "our gain",
    "verdict of gain",
    "cause",
)
OF_CLAIMS = ("method", "metric", "published", "published gain")
"""The `COLUMNS` of a table that no run stands beside."""
OF_FLOORS = ("floor", "metric", "ours", "above")


def groups(cells: Sequence[PaperCell]) -> dict[str, list[PaperCell]]:
    """By dataset and paradigm, in the order in which they are printed first."""
    found: dict[str, list[PaperCell]] = {}
    for cell in cells:
        kind = {ANY: "", NO_METHOD: ", no language model"}.get(cell.paradigm, f", {cell.paradigm}")
        found.setdefault(cell.dataset + kind, []).append(cell)
    return found


def line(cell: PaperCell) -> list[str]:
    """The `COLUMNS` of a cell below its dataset and paradigm."""
    digits = ".4f" if "@" in cell.metric else ",g"
    return [
        cell.method,
        cell.metric,
        f"{cell.published:{digits}}" + (" !" if cell.impossible else ""),
        _number(cell.ours, digits),
        "–" if cell.ratio is None else f"{cell.ratio:.3f}",
        cell.verdict,
        "" if cell.gain_published is None else f"{cell.gain_published:+.4f}",
        "" if cell.gain_published is None else _number(cell.gain, "+.4f"),
        cell.gain_verdict or "",
        ", ".join(cell.causes),
    ]


def claim_line(cell: PaperCell) -> list[str]:
    """The columns `OF_CLAIMS` of a cell."""
    shown = dict(zip(COLUMNS, line(cell), strict=True))
    return [shown[name] for name in OF_CLAIMS]


def floor_line(floor: Floor) -> list[str]:
    """The columns `OF_FLOORS` of a floor below its dataset."""
    return [floor.method, floor.metric, _number(floor.ours, ".4f"), _share(floor)]


def floor_summary(table: PaperTable, found: Sequence[Floor]) -> list[str]:
    """A sentence for each floor, by the last metric of its dataset, and the commands of those not run."""
    if table.claim:
        return []
    lines = []
    for dataset, metrics in measured(table).items():
        shown = [one for one in found if (one.dataset, one.metric) == (dataset, metrics[-1])]
        lines += [_floor(one) for one in shown]
        missing = [name for name in FLOORS if name not in {one.method for one in shown}]
        if missing:
            methods = " ".join(f"-m {name}" for name in missing)
            lines.append(
                f"floors of {dataset}: recbench run {methods} -d {dataset} --protocol {table.protocol}"
            )
    return lines


def _floor(one: Floor) -> str:
    above = f"{FLOORS[one.method]} is above {_share(one)}"
    return f"{one.dataset}: {above} ({one.metric} {one.ours.value:.4f})"


def _share(floor: Floor) -> str:
    return f"{len(floor.above)} of {floor.printed} printed rows"


def _number(ours: OurNumber | None, digits: str) -> str:
    if ours is None:
        return "–"
    shown = f"{ours.value:{digits}}"
    if ours.low is None or ours.low == ours.high:
        return shown
    return f"{shown} [{ours.low:{digits}}, {ours.high:{digits}}]"


def summary(table: PaperTable, cells: Sequence[PaperCell]) -> list[str]:
    """The counts of the verdicts and, where something was not run, the commands that run it."""
    if table.claim:
        return [f"{len(cells)} cells, as claims: {table.claim}", *table.notes]
    verdicts = get_args(Agreement)
    lines = [f"{len(cells)} cells: " + _counts([cell.verdict for cell in cells], verdicts)]
    gains = [cell.gain_verdict for cell in cells if cell.gain_verdict is not None]
    if gains:
        lines.append(f"{len(gains)} gains over SFT: " + _counts(gains, verdicts))
    if any(cell.verdict == "not run" for cell in cells):
        lines += [f"to fill it: {command}" for command in commands(table)]
    return lines


def _counts(found: Sequence[str], names: Sequence[str]) -> str:
    return ", ".join(f"{found.count(name)} {name}" for name in names if name in found)


def commands(table: PaperTable) -> list[str]:
    """What runs the table: its study, else a command for each dataset and paradigm of what can be run.

    None for a claim.
    """
    if table.claim:
        return []
    if table.study is not None:
        return [f"recbench run --study {table.study}"]
    parts: dict[tuple[str, str], list[PaperRow]] = {}
    for row in table.rows:
        if _runnable(table, row):
            parts.setdefault((row.dataset, row.paradigm), []).append(row)
    return [_command(table, rows) for rows in parts.values()]


def _runnable(table: PaperTable, row: PaperRow) -> bool:
    unnamed = bool(row.variant) and not row.params
    return not unnamed and row.method not in table.printed_only and not row.params.keys() & UNAVAILABLE


UNAVAILABLE = {"cf_model"}
"""Parameters of the papers' methods that ours do not have."""


def _command(table: PaperTable, rows: Sequence[PaperRow]) -> str:
    paradigm = rows[0].paradigm
    words = ["recbench run"]
    words += [f"-m {name}" for name in dict.fromkeys(_spelled(table, row) for row in rows)]
    words.append(f"-d {rows[0].dataset}")
    if paradigm != NO_METHOD and rows[0].method:
        words.append(f"-b {table.backbone or 'BACKBONE'}")
    if paradigm not in (NO_METHOD, ANY):
        words.append(f"-p {paradigm}")
    return " ".join([*words, f"--protocol {table.protocol}", "--seeds 5"])


def _spelled(table: PaperTable, row: PaperRow) -> str:
    inside = ",".join(f"{key}={value}" for key, value in table.params_of(row).items())
    name = row.method or "popularity"
    return f"{name}:{inside}" if inside else name


def legend(table: PaperTable, cells: Sequence[PaperCell]) -> list[str]:
    lines = []
    if any(cell.impossible for cell in cells):
        lines.append("! HR and NDCG of this row as printed cannot both come from one ranking")
    if table.claim:
        return lines
    methods = {row.method for row in table.rows}
    lines += [f"{name} as printed only: {why}" for name, why in table.printed_only.items() if name in methods]
    lines.append("the papers print no spread: intervals are of ours alone, over users and seeds")
    lines.append("a verdict asks whether the printed number lies where one more seed of ours would (95 %)")
    return lines
