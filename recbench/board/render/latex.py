"""A board as LaTeX tables that need only booktabs: the best group bold, the second underlined."""

from __future__ import annotations

import re
from collections.abc import Sequence

from recbench.board.model import PARENT, Board, BoardRow, Difference, Placing, Table
from recbench.board.render import text
from recbench.comparison.compare import CHECKPOINTS
from recbench.results.metrics import metric_name
from recbench.results.strata import ALL

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"$\sim$",
    "^": r"\textasciicircum{}",
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    CHECKPOINTS: r"\textsuperscript{\dag}",
    text.UNCERTIFIED: r"\textsuperscript{\ddag}",
    text.EXTERNAL: r"\textsuperscript{\S}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}
GROUP = {1: r"\textbf{%s}", 2: r"\underline{%s}"}


def latex(board: Board) -> str:
    """One `table` a dataset, to be taken in with `\\input`; the preamble needs `\\usepackage{booktabs}`."""
    head = [
        f"% Made by: {_comment(board.command)}",
        *(f"% Verified: {_comment(line)}" for line in board.verified),
        r"% Needs \usepackage{booktabs}; use \small or \resizebox where a table is too wide.",
    ]
    return "\n".join([*head, *(_table(table, board) for table in board.tables)]) + "\n"


def _table(table: Table, board: Board) -> str:
    names = _metrics(table, board.metric)
    parent = PARENT in table.references
    blocks = len(table.blocks) > 1
    head = [
        "Method",
        *(["Block"] if blocks else []),
        "Seeds",
        *([r"$\Delta$ parent"] if parent else []),
        *(escaped(metric_name(name)) for name in names),
    ]
    lines = []
    for row, placings in zip(table.rows, _placings(table, names), strict=True):
        marks = "".join(
            mark
            for mark, holds in (
                (CHECKPOINTS, row.checkpoints_only),
                (text.UNCERTIFIED, row.uncertified),
                (text.EXTERNAL, row.external),
            )
            if holds
        )
        lines.append(
            [
                escaped(row.name + marks),
                *([escaped(row.block or text.NONE)] if blocks else []),
                "--" if row.one_fit else str(len(row.seeds)),
                *([_difference(row.vs.get(PARENT))] if parent else []),
                *(_score(row, name, placing) for name, placing in zip(names, placings, strict=True)),
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
    named = [(name.partition("@")[0], int(name.partition("@")[2]), name) for name in table.switchable]
    smaller = max((at for _, at, _ in named if 1 < at < cutoff), default=cutoff)
    rest = [name for kind, at, name in named if kind in ("hr", "ndcg") and at in (smaller, cutoff)]
    return [metric, *(name for name in rest if name != metric)]


def _placings(table: Table, names: Sequence[str]) -> list[tuple[Placing, ...]]:
    """Of each row, its placing in each metric."""
    return list(zip(*(table.view(name).rows for name in names), strict=True))


def _score(row: BoardRow, name: str, placing: Placing) -> str:
    score = (GROUP[placing.tier] if placing.tier else "%s") % f"{placing.mean:.4f}"
    spread = row.metrics[name].sd
    return score if spread is None else rf"{score}{{\scriptsize$\pm${_digits(spread)}}}"


def _digits(spread: float) -> str:
    return f"{spread:.4f}".removeprefix("0")


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return "--"
    systems = r"$\sim$" if difference.between_systems else ""
    interval = rf"{{\scriptsize$[{difference.low:+.4f}, {difference.high:+.4f}]$}}"
    mark = "" if difference.scope == "methods" else SPECIAL[CHECKPOINTS]
    return f"{systems}${difference.difference:+.4f}${mark} {interval}"


def _caption(table: Table, board: Board) -> str:
    sentences = [f"{text.title(table)}. {text.description(table)}"]
    if any(view.has_tiers for view in table.views[ALL].values()):
        sentences.append(
            "Bold: the best row and those not worse, where they are better than some other; underlined: the "
            f"same of the rows below (Holm over all pairs, adjusted p at most {board.alpha:g})."
        )
    else:
        sentences.append("No group is marked: no two rows differ beyond noise, or they have too few seeds.")
    return " ".join(
        escaped(line)
        for line in (
            *sentences,
            *_differences_legend(table, board),
            *text.marks(table),
            *text.external_notes(table),
        )
    )


def _differences_legend(table: Table, board: Board) -> list[str]:
    lines = []
    if PARENT in table.references:
        lines.append(
            f"Difference to the parent in {metric_name(board.metric)} with its 95 % interval "
            "(~: between systems)."
        )
    if smallest := text.smallest_differences(table):
        lines.append(f"Smallest resolvable difference: {smallest}, by row.")
    return lines


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def escaped(plain: str) -> str:
    flat = re.sub(r"\s+", " ", plain)
    return "".join(SPECIAL.get(letter, letter) for letter in flat if letter.isprintable())


def _comment(plain: str) -> str:
    return re.sub(r"\s+", " ", plain)
