"""All boards on one HTML page: a line a table, with its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from recbench.base.words import plural
from recbench.board.headline import headline
from recbench.board.leakage import TWINS, commands, leaks
from recbench.board.model import Board, Table
from recbench.board.render import text
from recbench.board.render.page import environment

UNREADABLE = "its board.json is not one of this version; recbench leaderboard build makes it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardOfMany:
    """A folder under `leaderboards/`."""

    name: str
    board: Board | None
    """None where the folder has a study that has not run, or a board that cannot be read."""
    problem: str


def overview(boards: Sequence[BoardOfMany]) -> str:
    """Without a script; equal boards give equal bytes."""
    lines: list[dict[str, Any]] = []
    broken: list[tuple[str, str]] = []
    for one in boards:
        if one.board is None:
            if one.problem:
                broken.append(
                    (one.name, f"{one.problem}; recbench leaderboard build {one.name} makes it again")
                )
            continue
        try:
            lines += [_line(one.name, table, one.board) for table in one.board.tables]
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            broken.append((one.name, UNREADABLE))
        else:
            if not one.board.tables:
                broken.append((one.name, "no finished run is on it"))
    for line in lines:
        line["twin"] = next((other for other in lines if _is_twin(other, line)), None)
    studies = [one.name for one in boards if one.board is None and not one.problem]
    page: str = (
        environment().get_template("overview.html.j2").render(lines=lines, broken=broken, studies=studies)
    )
    return page + "\n"


def _line(name: str, table: Table, board: Board) -> dict[str, Any]:
    backbones = dict.fromkeys(block.parts["backbone"].partition(" ")[0] for block in table.blocks)
    seeds = sorted({len(row.seeds) for row in table.rows if not row.one_fit})
    return {
        "board": name,
        "address": f"{name}/index.html"
        + ("" if table is board.tables[0] else "#" + urlencode({"set": text.title(table)})),
        "dataset": table.dataset,
        "protocol": f"{table.protocol['name']} v{table.protocol['version']}",
        "twin_of": [name for name, twin in TWINS.items() if twin == table.protocol["name"]],
        "leaks": leaks(table),
        "commands": commands(table) if leaks(table) else [],
        "backbones": ", ".join(backbones) or text.NONE,
        "methods": plural(len({row.label for row in table.rows}), "method"),
        "rows": plural(len(table.rows), "row"),
        "seeds": f"{'–'.join(str(end) for end in dict.fromkeys((seeds[0], seeds[-1])))} "
        + ("seed" if seeds == [1] else "seeds")
        if seeds
        else "no seeds",
        "requests": f"{table.num_requests:,} requests",
        "answer": headline(table, board),
        "date": table.finished or text.NONE,
        "verified": board.verified[0] if board.verified else "",
    }


def _is_twin(other: dict[str, Any], line: dict[str, Any]) -> bool:
    of = line["protocol"].partition(" ")[0]
    return bool(line["leaks"] and of in other["twin_of"] and other["dataset"] == line["dataset"])
