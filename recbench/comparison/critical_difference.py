"""A critical-difference diagram as SVG: methods on a line of average ranks, bars over ties."""

from __future__ import annotations

from html import escape

from recbench.comparison.across_datasets import Across
from recbench.errors import UsageError

WIDTH, SIDE, TOP, ROW = 480, 160, 40, 18
"""The axis, the room for names beside it, the room above it, the height of a line of text or a bar."""


def critical_difference(found: Across) -> str:
    """The best method at the right end. UsageError where the datasets are too few for a pair to differ."""
    num_methods = len(found.names)
    if not found.cliques:
        raise UsageError(
            f"a critical-difference diagram of {num_methods} methods needs {found.sets_needed} sets of data",
            why=f"there are {found.num_sets}: not even a method that wins on all of them could be told apart",
        )
    bars = [clique for clique in found.cliques if len(clique) > 1]
    places = {
        name: _x(rank, num_methods) for name, rank in zip(found.names, found.average_ranks, strict=True)
    }
    below = TOP + ROW * (len(bars) + 1)
    half = (num_methods + 1) // 2
    parts = [_line(_x(num_methods, num_methods), TOP, _x(1, num_methods), TOP)]
    for tick in range(1, num_methods + 1):
        x = _x(tick, num_methods)
        parts += [_line(x, TOP - 5, x, TOP), _text(x, TOP - 10, "middle", str(tick))]
    for row, clique in enumerate(bars, 1):
        ends = [places[name] for name in clique]
        parts.append(_line(min(ends) - 4, TOP + ROW * row - 6, max(ends) + 4, TOP + ROW * row - 6, width=4))
    for place, (name, x) in enumerate(places.items()):
        best = place < half  # its name stands at the right, the best on top
        y = below + ROW * (place if best else num_methods - 1 - place)
        end = SIDE + WIDTH + 10 if best else SIDE - 10
        label = f"{name} {found.average_ranks[place]:.2f}"
        parts += [_line(x, TOP, x, y), _line(x, y, end, y)]
        parts.append(_text(end + (4 if best else -4), y + 4, "start" if best else "end", label))
    height = below + ROW * half + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 2 * SIDE} {height}" role="img"'
        f' font-family="sans-serif" font-size="12" fill="currentColor" stroke="none">'
        f"<title>average ranks over {found.num_sets} datasets</title>{''.join(parts)}</svg>\n"
    )


def _x(rank: float, num_methods: int) -> float:
    """Rank 1 at the right."""
    return SIDE + WIDTH * (num_methods - rank) / (num_methods - 1)


def _line(x1: float, y1: float, x2: float, y2: float, *, width: int = 1) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="currentColor" stroke-width="{width}"/>'


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
