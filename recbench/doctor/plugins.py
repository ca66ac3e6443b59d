"""What packages bring beside recbench: whether each can be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from recbench.base.extensions import points
from recbench.base.root import Root
from recbench.doctor.finding import Finding
from recbench.errors import RecbenchError, UsageError
from recbench.planning.plugins.asking import ask


def plugins(root: Root) -> Finding:
    """A broken one is a warning: it stops no command that does not use it."""
    brought = {kind: points.outside(kind) for kind in points.GROUPS}
    wrong = dict(_unusable(root.path))
    counts = ", ".join(f"{kind}s: {', '.join(names)}" for kind, names in brought.items() if names)
    if not wrong:
        return Finding(name="plugins", status="ok", found=counts or "none")
    found = "; ".join(f"{what}: {error.why or error.what}" for what, error in wrong.items())
    fixes = dict.fromkeys(error.fix for error in wrong.values() if error.fix)
    return Finding(name="plugins", status="warning", found=found, fix="; ".join(fixes))


def _unusable(root: Path) -> Iterator[tuple[str, RecbenchError]]:
    """What cannot be used, in words, with the reason. Asks each of them, and keeps no answer."""
    for kind, noun in points.NOUNS.items():
        for name, point in points.outside(kind).items():
            who = f"{noun} '{name}' of {points.owner(point)}"
            of_kind = {} if kind == "method" else {"kind": kind}
            try:
                asked = points.point_of(kind, name)
                ask({"ask": "describe", "name": name, **of_kind}, [asked], who=who, root=root, keep=False)
            except RecbenchError as error:
                yield who, error
        for point in points.ignored(kind):
            why = f"recbench has a {noun} of this name, and that one is used"
            yield (
                f"{noun} '{point.name}' of {points.owner(point)}",
                UsageError(
                    why, fix=f"another name for {point.value} in the entry points of {points.owner(point)}"
                ),
            )
