"""A board as LaTeX tables that need only booktabs: the best group bold, the second underlined."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from recbench.board.render import text
from recbench.board.render.text import Board, Table
from recbench.comparison.compare import CHECKPOINTS

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"$\sim$",
    "^": r"\textasciicircum{}",
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    CHECKPOINTS: r"\textsuperscript{\dag}",
    text.UNCERTIFIED: r"\textsuperscript{\ddag}",
    text.EXTERNAL: r"\textsuperscript{\S}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}
GROUP = {1: r"\textbf{%s}", 2: r"\underline{%s}"}


def latex(board: Board) -> str:
    """One `table` a dataset, to be taken in with `\\input`; the preamble needs `\\usepackage{booktabs}`."""
    head = [
        f"% Made by: {_comment(board['command'])}",
        r"% Needs \usepackage{booktabs}; use \small or \resizebox where a table is too wide.",
    ]
    return "\n".join([*head, *(_table(table, board) for table in board["tables"])]) + "\n"


def _table(table: Table, board: Board) -> str:
    names = _metrics(table, board["metric"])
    parent = text.PARENT in table["references"]
    blocks = len(table["blocks"]) > 1
    head = [
        "Method",
        *(["Block"] if blocks else []),
        "Seeds",
        *([r"$\Delta$ parent"] if parent else []),
        *(_escaped(text.metric_name(name)) for name in names),
    ]
    lines = []
    for number, row in enumerate(table["rows"]):
        marks = "".join(
            mark
            for mark, holds in (
                (CHECKPOINTS, row["scope"] != "methods"),
                (text.UNCERTIFIED, row["uncertified"]),
                (text.EXTERNAL, row["external"]),
            )
            if holds
        )
        lines.append(
            [
                _escaped(row["name"] + marks),
                *([_escaped(row["block"] or text.NONE)] if blocks else []),
                str(len(row["seeds"])) if row["seeds"] != [None] else "--",
                *([_difference(row["vs"].get(text.PARENT))] if parent else []),
                *(_score(row, number, name, table) for name in names),
            ]
        )
    columns = ("ll" if blocks else "l") + "r" * (len(head) - 1 - blocks)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            r"\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{_caption(table, board)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _line(head),
            r"\midrule",
            *(_line(line) for line in lines),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _metrics(table: Table, metric: str) -> list[str]:
    """The metric of the board, then HR and NDCG at its cutoff and at the next smaller one: a page is full."""
    cutoff = int(metric.partition("@")[2])
    named = [(name.partition("@")[0], int(name.partition("@")[2]), name) for name in table["switchable"]]
    smaller = max((at for _, at, _ in named if 1 < at < cutoff), default=cutoff)
    rest = [name for kind, at, name in named if kind in ("hr", "ndcg") and at in (smaller, cutoff)]
    return [metric, *(name for name in rest if name != metric)]


def _score(row: Mapping[str, Any], number: int, name: str, table: Table) -> str:
    view = table["views"]["all"][name]
    score = GROUP.get(view["tier"][number], "%s") % f"{view['mean'][number]:.4f}"
    spread = row["metrics"][name]["sd"]
    return score if spread is None else rf"{score}{{\scriptsize$\pm${_digits(spread)}}}"


def _digits(spread: float) -> str:
    return f"{spread:.4f}".removeprefix("0")


def _difference(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return "--"
    across = "" if cell["kind"] == "effect of the method" else r"$\sim$"
    interval = rf"{{\scriptsize$[{cell['low']:+.4f}, {cell['high']:+.4f}]$}}"
    return f"{across}${cell['difference']:+.4f}$ {interval}"


def _caption(table: Table, board: Board) -> str:
    sentences = [f"{text.title(table)}. {text.description(table)}"]
    if any(tier for view in table["views"]["all"].values() for tier in view["tier"]):
        sentences.append(
            "Bold: the best row and all that tie with it; underlined: the same of the rows below "
            f"(Holm over all pairs, adjusted p at most {board['alpha']:g})."
        )
    else:
        sentences.append("No group is marked: one seed a method says nothing of the methods.")
    return " ".join(
        _escaped(line)
        for line in (
            *sentences,
            *_differences_legend(table, board),
            *text.marks(table),
            *text.external_notes(table),
        )
    )


def _differences_legend(table: Table, board: Board) -> list[str]:
    lines = []
    if text.PARENT in table["references"]:
        lines.append(
            f"Difference to the parent in {text.metric_name(board['metric'])} with its 95 % interval "
            "(~: between systems)."
        )
    if table["smallest_difference"] is not None:
        lines.append(f"Smallest resolvable difference: {table['smallest_difference']:.4f}.")
    return lines


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _escaped(plain: str) -> str:
    flat = re.sub(r"\s+", " ", plain)
    return "".join(SPECIAL.get(letter, letter) for letter in flat if letter.isprintable())


def _comment(plain: str) -> str:
    return re.sub(r"\s+", " ", plain)
