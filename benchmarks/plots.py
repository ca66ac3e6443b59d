"""Small charts of curves on two logarithmic axes, as an SVG image that needs no library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 300, 220, 52, 14, 26, 40
COLOURS = ("#1b6ca8", "#b3541e")
Curve = Sequence[tuple[float, float]]


def panels(charts: Sequence[tuple[str, str, Mapping[str, Curve]]], *, columns: int = 3) -> str:
    """An image with a panel for each (title, name of the x axis, curves by name); all values above 0."""
    rows = math.ceil(len(charts) / columns)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * WIDTH} {rows * HEIGHT}" '
        'font-family="sans-serif" font-size="10" fill="#222">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for number, (title, axis, curves) in enumerate(charts):
        place = f"translate({number % columns * WIDTH} {number // columns * HEIGHT})"
        parts += [f'<g transform="{place}">', *_panel(title, axis, curves), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(title: str, axis: str, curves: Mapping[str, Curve]) -> list[str]:
    points = [point for curve in curves.values() for point in curve]
    low_x, high_x = _decades([x for x, _ in points])
    low_y, high_y = _decades([y for _, y in points])

    def at_x(x: float) -> float:
        return LEFT + (math.log10(x) - low_x) / (high_x - low_x) * (WIDTH - LEFT - RIGHT)

    def at_y(y: float) -> float:
        return HEIGHT - BOTTOM - (math.log10(y) - low_y) / (high_y - low_y) * (HEIGHT - TOP - BOTTOM)

    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [f'<text x="{LEFT}" y="14" font-weight="bold">{escape(title)}</text>']
    for power in range(low_x, high_x + 1):
        x = at_x(10.0**power)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 13}" text-anchor="middle">{10.0**power:g}</text>')
    for power in range(low_y, high_y + 1):
        y = at_y(10.0**power)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 4}" y="{y + 3:.1f}" text-anchor="end">{10.0**power:g}</text>')
    parts.append(
        f'<text x="{(LEFT + right) / 2}" y="{bottom + 28}" text-anchor="middle">{escape(axis)}</text>'
    )
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in curve)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        dots = (f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="2.5" fill="{colour}"/>' for x, y in curve)
        parts += dots
        place = f'x="{right}" y="{14 + 11 * number}" text-anchor="end"'
        parts.append(f'<text {place} fill="{colour}">{escape(name)}</text>')
    return parts


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around the values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)
