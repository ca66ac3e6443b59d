"""What packages bring beside methods: whether each can be used."""

from __future__ import annotations

from recbench.base.extensions import points
from recbench.base.root import Root
from recbench.doctor.finding import Finding
from recbench.planning.plugins import extensions


def plugins(root: Root) -> Finding:
    """A broken one is a warning: it stops no command that does not use it."""
    brought = {kind: points.outside(kind) for kind in points.GROUPS if kind != "method"}
    wrong = extensions.unusable(root.path)
    counts = ", ".join(f"{kind}s: {', '.join(names)}" for kind, names in brought.items() if names)
    if not wrong:
        return Finding(name="plugins", status="ok", found=counts or "none beside methods")
    found = "; ".join(f"{what}: {error.why or error.what}" for what, error in wrong.items())
    fixes = dict.fromkeys(error.fix for error in wrong.values() if error.fix)
    return Finding(name="plugins", status="warning", found=found, fix="; ".join(fixes))
