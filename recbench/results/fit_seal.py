"""The seal of a finished fit: the digests of its files, checked before it is ranked or used as a parent.

`files.json` has the sha256 of every file, and the marker `COMPLETE`, which is written last, has its own.
"""

from __future__ import annotations

import json
from pathlib import Path

from recbench.base import digest
from recbench.base.files import parse_json, write_text
from recbench.base.layout import COMPLETE
from recbench.errors import DigestError
from recbench.results.guarded import GUARD

FILES = "files.json"
LOG = "log.txt"
"""Left out, and the guard's record too: the driver writes them until the worker has ended."""


def seal(workdir: Path) -> None:
    """Record the digests of all files, then write the marker."""
    files = digest.of_folder(workdir, without=(FILES, COMPLETE, LOG, GUARD))
    write_text(workdir / FILES, json.dumps(files, indent=1, sort_keys=True) + "\n")
    write_text(workdir / COMPLETE, digest.of_file(workdir / FILES) + "\n")


def check(workdir: Path) -> None:
    """DigestError names the first file that has changed since the fit was sealed."""
    fix = f"recbench run ... --force, or remove {workdir}: the next run makes the fit again"
    sealed = (workdir / COMPLETE).read_text(encoding="utf-8").strip()
    if not sealed:
        raise DigestError(
            f"the fit {workdir} has no digests of its files",
            why="an earlier version of recbench made it, so nothing shows that it is unchanged",
            fix=fix,
        )
    digest.check_folder(workdir, {FILES: sealed}, fix=fix)
    digest.check_folder(workdir, parse_json((workdir / FILES).read_bytes()), fix=fix)
