"""Where fits and locks are under a root, and what their files are called."""

from __future__ import annotations

from pathlib import Path

from recbench.base.root import Root

COMPLETE = "COMPLETE"
"""The marker in the folder of a finished fit, written last."""
SPEC = "spec.json"
"""In a fit's folder: the specification of the fit."""


def fit_folder(cache: Path, fit_id: str) -> Path:
    return cache / "fits" / fit_id


def run_lock(root: Root, run_id: str) -> Path:
    """Held while a process works on this run; its owner says where."""
    return root.cache / "locks" / f"run-{run_id}"
