"""A board as LaTeX tables that need only booktabs: the best group bold, the second underlined."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from recbench.board.model import PARENT, Board, BoardRow, Difference, Table
from recbench.board.render import text
from recbench.board.views.view import Placing
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
    "<": "$<$",
    ">": "$>$",
    CHECKPOINTS: r"\textsuperscript{\dag}",
    text.UNCERTIFIED: r"\textsuperscript{\ddag}",
    text.EXTERNAL: r"\textsuperscript{\S}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}
MOST_ROWS = 40
# in characters of a page of A4 with margins of 2.5 cm, at \small
PAGE_WIDTH, GAP = 108, 1.8
LONGEST_NAME, LONGEST_BLOCK = 24, 20
SEEDS_WIDTH, DIFFERENCE_WIDTH, SCORE_WIDTH = 5, 26, 11
GROUP = {1: r"\textbf{%s}", 2: r"\underline{%s}"}


def latex(board: Board) -> str:
    """A `table` for each dataset, in parts where it is long, to be taken in with `\\input`.

    The preamble needs `\\usepackage{booktabs}`.
    """
    head = [
        f"% Made by: {_comment(board.command)}",
        *(f"% Verified: {_comment(line)}" for line in board.verified),
        r"% Needs \usepackage{booktabs}; fits a page of A4 with margins of 2.5 cm.",
    ]
    tables = [part for table in board.tables for part in _tables(table, board)]
    return "\n".join([*head, *tables]) + "\n"


def _tables(table: Table, board: Board) -> list[str]:
    """A table, in parts of as many rows as a page holds."""
    parent, blocks = PARENT in table.references, len(table.blocks) > 1
    widths = [min(max(len(row.name) for row in table.rows), LONGEST_NAME)]
    widths += [min(max(len(row.block or "") for row in table.rows), LONGEST_BLOCK)] if blocks else []
    widths += [SEEDS_WIDTH, *([DIFFERENCE_WIDTH] if parent else [])]
    names = _that_fit(table, board.metric, PAGE_WIDTH - sum(widths) - GAP * len(widths))
    head = [
        "Method",
        *(["Block"] if blocks else []),
        "Seeds",
        *([r"$\Delta$ parent"] if parent else []),
        *(escaped(metric_name(name)) for name in names),
    ]
    lines = [
        [
            _name(row.name + _marks(row), LONGEST_NAME),
            *([_name(row.block or text.NONE, LONGEST_BLOCK)] if blocks else []),
            "--" if row.one_fit else str(len(row.seeds)),
            *([_difference(row.vs.get(PARENT))] if parent else []),
            *(_score(row, name, placing) for name, placing in zip(names, placings, strict=True)),
        ]
        for row, placings in zip(table.rows, _placings(table, names), strict=True)
    ]
    columns = "".join(["ll" if blocks else "l", "r" * (len(head) - 1 - blocks)])
    parts = []
    for start in range(0, len(lines), MOST_ROWS):
        caption = _caption(table, board) if start == 0 else f"{escaped(text.title(table))}, continued"
        parts.append(_part(head, lines[start : start + MOST_ROWS], columns, caption))
    return parts


def _part(head: Sequence[str], lines: Sequence[Sequence[str]], columns: str, caption: str) -> str:
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\small",
            r"\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{caption}}}",
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


def _marks(row: BoardRow) -> str:
    marks = (
        (CHECKPOINTS, row.checkpoints_only),
        (text.UNCERTIFIED, row.uncertified),
        (text.EXTERNAL, row.external),
    )
    return "".join(mark for mark, holds in marks if holds)


def _name(plain: str, longest: int) -> str:
    """A name; one that is too long for its column takes several lines, broken between its parts."""
    lines = textwrap.wrap(re.sub(r"(,| ·)(?=\S)", r"\1 ", plain), longest, break_on_hyphens=False)
    whole = escaped(plain)
    if len(lines) > 1:
        inside = r"\\".join(_opening(escaped(line)) for line in lines)
        whole = rf"\begin{{tabular}}[t]{{@{{}}l@{{}}}}{inside}\end{{tabular}}"
    return _opening(whole)


def _opening(cell: str) -> str:
    r"""A cell after `\\`, which would take `[` and `*` for its own."""
    return f"{{}}{cell}" if cell.startswith(("[", "*")) else cell


def _that_fit(table: Table, metric: str, width: float) -> list[str]:
    """The board's metric, and as many others as the page has room for."""
    names, left = _metrics(table, metric), width
    spread = any(score.sd is not None for row in table.rows for score in row.metrics.values())
    count = int(left // (GAP + (SCORE_WIDTH if spread else len(metric))))
    return names[: max(count, 1)]


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
