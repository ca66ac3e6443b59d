"""What may go from a root: leftovers, checkpoints that nobody continues from, and what no run was made from.

Bundles never go. Neither does what may be in use: written to within the last hour, named by a living process
or by a lock that was touched within the hour; and nothing that a run could be made from while any is locked.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from recbench import bundle
from recbench.errors import DigestError
from recbench.root import Root
from recbench.task import COMPLETE, SPEC

Kind = Literal["leftover", "checkpoints", "fit", "split", "stage"]

IN_USE_SECONDS = 3600.0
# `.<id>.partial`, `.<id>.replaced`, `.<key>-<process id>`: what gets its own name when it is whole, and what
# was moved aside to be removed
LEFTOVER = re.compile(r"\..+(\.partial|\.replaced|\.removed|-(?P<pid>\d+))")
STAGE, SPLIT = "stage.json", "split.json"
ID = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removable:
    kind: Kind
    path: Path
    num_bytes: int
    in_use: bool
    """It stays for now."""


def removable(root: Root, *, unused: bool = False) -> list[Removable]:
    """Everything that may go. With `unused` also the fits, splits and stages that no bundle was made from.

    DigestError where that is asked for and a bundle cannot be read: nobody knows what it was made from.
    """
    locked = _locked(root)
    found: list[tuple[Kind, Path]] = _unused(root) if unused else []
    whole = {path for _, path in found}
    parts: list[tuple[Kind, Path]] = [("leftover", path) for path in _leftovers(root)]
    parts += [("checkpoints", path) for path in _checkpoints(root)]
    found += [(kind, path) for kind, path in parts if whole.isdisjoint(path.parents)]
    return [
        Removable(
            kind=kind,
            path=path,
            num_bytes=num_bytes(path),
            in_use=_in_use(path) or (bool(locked) if path in whole else _names(path, locked)),
        )
        for kind, path in found
    ]


def remove(one: Removable) -> None:
    """Take it away: first its name, so that nobody finds it half there. OSError where that is not allowed."""
    hidden = one.path
    if not LEFTOVER.fullmatch(hidden.name):
        hidden = one.path.with_name(f".{one.path.name}.removed")
        one.path.rename(hidden)
    if hidden.is_dir() and not hidden.is_symlink():
        shutil.rmtree(hidden)
    else:
        hidden.unlink()


def num_bytes(path: Path) -> int:
    """Of a file, or of all files below a folder; links are not followed."""
    return sum(one.lstat().st_size for one in _walk(path) if one.is_symlink() or not one.is_dir())


def _leftovers(root: Root) -> Iterator[Path]:
    """Below runs/ and cache/, but for downloads, which are continued."""
    for top in (root.runs, root.cache):
        for folder, names, files in os.walk(top):
            inside = [Path(folder) / name for name in (*names, *files) if LEFTOVER.fullmatch(name)]
            yield from sorted(inside)
            skip = {path.name for path in inside} | ({"raw"} if Path(folder) == root.cache else set())
            names[:] = [name for name in names if name not in skip]


def _checkpoints(root: Root) -> Iterator[Path]:
    for marker in sorted((root.cache / "fits").glob(f"[!.]*/{COMPLETE}")):
        yield from sorted(marker.parent.glob("checkpoints-*"))


def _unused(root: Root) -> list[tuple[Kind, Path]]:
    used = _used(root)
    fits = (root.cache / "fits").glob(f"[!.]*/{SPEC}")
    splits = (root.cache / "split").glob(f"[!.]*/{SPLIT}")
    stages = root.cache.glob(f"*/[!.]*/{STAGE}")
    return [
        *(("fit", file.parent) for file in sorted(fits) if file.parent.name not in used.fits),
        *(("split", file.parent) for file in sorted(splits) if _split_of(file) not in used.splits),
        *(("stage", file.parent) for file in sorted(stages) if _stage_of(file) not in used.stages),
    ]


@dataclass(frozen=True, slots=True)
class _Used:
    """What bundles were made from: ids of fits, digests of splits, stages as `kind/key`."""

    fits: set[str]
    splits: set[str]
    stages: set[str]


def _used(root: Root) -> _Used:
    used = _Used(set(), set(), set())
    for folder in bundle.find(root.runs):
        try:
            fit = _json(folder / bundle.MANIFEST)["spec"]
            cost = folder / "efficiency.json"  # a failed run has none
            stages = _json(cost)["stage_seconds"] if cost.exists() else {}
        except (OSError, json.JSONDecodeError, KeyError) as error:
            raise DigestError(
                f"the run {folder.name} cannot be read",
                why=f"{error!r}, so nobody knows what it was made from",
                mend=f"repeat it, or remove {folder}",
            ) from None
        used.fits.update(filter(None, (fit["fit_id"], fit["fit"]["parent"])))
        used.splits.add(fit["fit"]["split"])
        used.stages.update(stages)
    # a fit that is kept keeps its ancestors, and all of them the stages that they may read again
    for name in list(used.fits):
        used.fits.update(_fit(root, name).get("parents", ()))
    for name in used.fits:
        used.stages.update(_fit(root, name).get("stages", ()))
    return used


def _fit(root: Root, name: str) -> Mapping[str, Any]:
    record = root.cache / "fits" / name / "fit.json"
    return _json(record) if record.exists() else {}


def _split_of(file: Path) -> str:
    return str(_json(file)["digests"]["split"])


def _stage_of(file: Path) -> str:
    return f"{file.parent.parent.name}/{file.parent.name}"


def _json(path: Path) -> Mapping[str, Any]:
    value: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def _in_use(path: Path) -> bool:
    import psutil

    match = LEFTOVER.fullmatch(path.name)
    if match and match["pid"] and psutil.pid_exists(int(match["pid"])):
        return True
    return any(_fresh(one) for one in _walk(path))


def _fresh(path: Path) -> bool:
    try:
        return path.lstat().st_mtime > time.time() - IN_USE_SECONDS
    except FileNotFoundError:  # somebody is at work there
        return True


def _locked(root: Root) -> set[str]:
    """Names of the locks that are held: their owners touch them all the time."""
    locks = root.cache / "locks"
    return {one.relative_to(locks).parts[0] for one in locks.rglob("*") if one.is_file() and _fresh(one)}


def _names(path: Path, locked: set[str]) -> bool:
    """Whether a lock bears the id of a run, fit or stage to which the path belongs."""
    ids = set(ID.findall(f"{path.parent.name} {path.name}"))
    return any(one in lock for one in ids for lock in locked)


def _walk(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        for folder, names, files in os.walk(path):
            yield from (Path(folder) / name for name in (*names, *files))
