"""Paths of fits and locks under a root, and the names of their files."""

from __future__ import annotations

from pathlib import Path

from recbench.base.root import Root

COMPLETE = "COMPLETE"
"""The marker in the folder of a finished fit, written last."""
SPEC = "spec.json"
"""The specification of a fit, in the folder of the fit."""

OWN_STAGES = "stages"
"""In the folder of a fit, the stages of this fit alone."""
REPLAYS = "replays"
"""Below the root, a folder for each run that was fitted again."""
SUBMISSIONS = "submissions"
"""Below the root, a folder for each board that was made for a pull request."""


def fit_folder(cache: Path, fit_id: str) -> Path:
    return cache / "fits" / fit_id


def records_folder(cache: Path, fit_id: str) -> Path:
    """What the driver knows of a fit: its code, and what its guard told.

    The fit's own folder is the method's, which may change what is in it."""
    return cache / "records" / fit_id


def stages_folder(cache: Path) -> Path:
    """Shared stages have a folder of their own: methods of recbench's may change it, third parties' not."""
    return cache / "stages"


def run_lock(root: Root, run_id: str) -> Path:
    """The lock that a process holds while it works on this run; its owner names the machine."""
    return root.cache / "locks" / f"run-{run_id}"
