"""What `recbench gc` may remove: leftovers, checkpoints of finished fits, and what no run was made from.

Bundles stay. So does a leftover that may be in use: its lock is held, the process in its name lives, or it
was written to in the last minute. While a run is made or queued, everything stays that it could be made from.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from platform import node
from tempfile import gettempdir
from typing import Any, Literal

from recbench.base import locks
from recbench.base.files import SCRATCH, parse_json
from recbench.base.layout import COMPLETE, REPLAYS, SPEC, fit_folder, records_folder, stages_folder
from recbench.base.root import Root
from recbench.dataset import card
from recbench.errors import CheckError, DigestError, RecbenchError
from recbench.results import bundle
from recbench.results.fit_record import FIT, FitRecord
from recbench.running import jobs
from recbench.running.slurm.queue import statuses

Kind = Literal["leftover", "checkpoints", "fit", "split", "stage", "raw files", "replay"]

# `.<id>.partial`, `.<name>.<process>.partial`, `.<key>-<process>`: unfinished, renamed when complete;
# `.<id>.replaced`, `.<id>.removed`: moved aside
LEFTOVER = re.compile(r"\..+(\.partial|\.replaced|\.removed|-\d+)")
PROCESS = re.compile(r"[-.](\d{1,9})(?:\.partial)?$")
STAGE, SPLIT = "stage.json", "split.json"
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)
ID = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removable:
    kind: Kind
    path: Path
    num_bytes: int
    in_use: bool
    """Whether it may be in use, so that it stays for now."""


def removable(root: Root, *, unused: bool = False) -> list[Removable]:
    """Everything that may go. With `unused` also the fits, splits, stages and fetched raw files that no
    bundle was made from, and all replays.

    DigestError with `unused` when a bundle cannot be read: what it was made from is unknown.
    """
    held = _held(root)
    candidates: list[tuple[Kind, Path]] = _unused(root) if unused else []
    whole = {path for _, path in candidates}
    parts: list[tuple[Kind, Path]] = [("leftover", path) for path in _leftovers(root)]
    parts += [("checkpoints", path) for path in _checkpoints(root)]
    candidates += [(kind, path) for kind, path in parts if whole.isdisjoint(path.parents)]
    busy = bool(whole) and (bool(held) or _queued(root))
    return [
        Removable(
            kind=kind,
            path=path,
            num_bytes=num_bytes(path),
            in_use=busy or _works_inside(path) if path in whole else _in_use(path, root, held),
        )
        for kind, path in candidates
    ]


def remove(item: Removable) -> None:
    """Rename it out of sight, then delete it: no process finds it half deleted. OSError if not permitted."""
    hidden = item.path
    if not LEFTOVER.fullmatch(hidden.name):
        hidden = item.path.with_name(f".{item.path.name}.removed")
        item.path.rename(hidden)
    if item.kind == "fit":
        shutil.rmtree(records_folder(item.path.parents[1], item.path.name), ignore_errors=True)
    if hidden.is_dir() and not hidden.is_symlink():
        shutil.rmtree(hidden)
    else:
        hidden.unlink()


def num_bytes(path: Path) -> int:
    """Of a file, or of all files below a folder; links are not followed."""
    return sum(file.lstat().st_size for file in _walk(path) if file.is_symlink() or not file.is_dir())


def _leftovers(root: Root) -> Iterator[Path]:
    """Temporary folders of processes that are gone, and what is half made below the root, without downloads,
    which are continued."""
    for place in (Path(gettempdir()), root.cache):
        yield from sorted(path for path in place.glob(f"{SCRATCH}{node()}-*") if _is_abandoned(path))
    tops = ("runs", "cache", "jobs", "leaderboards", "tuning", "datasets", "data")
    for top in (root.path / name for name in tops):
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
    stages = [
        *stages_folder(root.cache).glob(f"*/[!.]*/{STAGE}"),
        *root.cache.glob(f"*/[!.]*/{STAGE}"),  # where earlier versions kept them
    ]
    return [
        *(("fit", file.parent) for file in sorted(fits) if file.parent.name not in used.fits),
        *(("split", file.parent) for file in sorted(splits) if _split_of(file) not in used.splits),
        *(("stage", file.parent) for file in sorted(stages) if _stage_of(file) not in used.stages),
        *(("raw files", folder) for folder in _fetched(root, used.datasets)),
        *(("replay", folder) for folder in sorted((root.path / REPLAYS).glob("*"))),
    ]


def _fetched(root: Root, used: set[str]) -> list[Path]:
    """Folders of raw files that recbench fetched or made, for datasets of no run; it gets them again."""
    kept: set[Path] = set()
    found: set[Path] = set()
    for name in card.available(root.path):
        try:
            sources = card.find(name, root.path).sources
        except (RecbenchError, OSError):
            return []  # what it may need is unknown
        for source in sources:
            folder = root.cache / "raw" / source.folder
            again = source.generator is not None or all(file.url for file in source.files.values())
            (kept if name in used or not again or source.distribution else found).add(folder)
    return sorted(folder for folder in found - kept if folder.is_dir())


def _is_abandoned(path: Path) -> bool:
    """Whether this is a folder of this user, whose process is gone."""
    try:
        return path.lstat().st_uid == os.getuid() and path.is_dir() and not _lives(path)
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class _Used:
    """What bundles were made from: ids of fits, digests of splits, stages as `kind/key`, datasets."""

    fits: set[str]
    splits: set[str]
    stages: set[str]
    datasets: set[str]


def _used(root: Root) -> _Used:
    used = _Used(set(), set(), set(), set())
    for folder in bundle.find(root.runs):
        try:
            spec = _json(folder / bundle.MANIFEST)["spec"]
            cost = folder / "efficiency.json"  # a failed run has none
            stages = _json(cost).get("stage_seconds", {}) if cost.exists() else {}  # an import has none
            used.fits.update(filter(None, (spec["fit_id"], spec["fit"]["parent"])))
            used.splits.add(spec["fit"]["split"])
            used.datasets.add(spec["fit"].get("dataset", ""))
            used.stages.update(stages)
        except UNREADABLE as error:
            raise DigestError(
                f"the run {folder.name} cannot be read",
                why=f"{error!r}, so what it was made from is unknown",
                fix=f"repeat it, or remove {folder}",
            ) from None
    # a kept fit keeps its ancestors, and all of these keep the stages that they may read again
    for name in list(used.fits):
        if fit := _fit(root, name):
            used.fits.update(fit.parents)
    for name in used.fits:
        if fit := _fit(root, name):
            used.stages.update(fit.spent.stages)
    return used


def _fit(root: Root, name: str) -> FitRecord | None:
    """The record of a finished fit; None where there is none.

    DigestError where it cannot be read, because what it was made from is then unknown.
    """
    workdir = fit_folder(root.cache, name)
    try:
        return FitRecord.read(workdir) if (workdir / FIT).exists() else None
    except (OSError, CheckError) as error:
        raise DigestError(
            f"the record of the fit {name} cannot be read",
            why=f"{str(error).splitlines()[0]}, so what it was made from is unknown",
            fix=f"rm -r {workdir}   (the next run makes it again)",
        ) from None


def _split_of(file: Path) -> str:
    """Empty for a split whose record cannot be read: no run can use it."""
    try:
        return str(_json(file)["digests"]["split"])
    except UNREADABLE:
        return ""


def _stage_of(file: Path) -> str:
    return f"{file.parent.parent.name}/{file.parent.name}"


def _json(path: Path) -> Mapping[str, Any]:
    value: Mapping[str, Any] = parse_json(path.read_bytes())
    return value


def _held(root: Root) -> set[str]:
    """Names of the locks that are held."""
    folders = [top / "locks" for top in (root.cache, stages_folder(root.cache)) if (top / "locks").is_dir()]
    paths = [path for folder in folders for path in folder.iterdir()]
    return {path.name for path in paths if path.is_dir() and locks.owner(path)}


def _queued(root: Root) -> bool:
    """Whether a cluster has jobs for this root."""
    sent = [job for job in jobs.find(root) if job.slurm]
    return any(status.state in ("queued", "running") for status in statuses(sent, root))


def _in_use(path: Path, root: Root, held: set[str]) -> bool:
    inside = path.is_relative_to(root.path)
    ids = set(ID.findall(path.relative_to(root.path).as_posix())) if inside else set()
    if any(found in name for found in ids for name in held):
        return True
    if _lives(path):
        return True
    return any(_fresh(file) for file in _walk(path)) and bool(LEFTOVER.fullmatch(path.name))


def _lives(path: Path) -> bool:
    """Whether the process in the name lives."""
    import psutil

    process = PROCESS.search(path.name)
    return process is not None and psutil.pid_exists(int(process[1]))


def _works_inside(path: Path) -> bool:
    """Whether a process holds a lock of the root that a replay is."""
    found = (path / "cache" / "locks").glob("*")
    return any(lock.is_dir() and locks.owner(lock) is not None for lock in found)


def _fresh(path: Path) -> bool:
    try:
        return path.lstat().st_mtime > time.time() - locks.DEAD_SECONDS
    except FileNotFoundError:  # a process is at work there
        return True


def _walk(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        for folder, names, files in os.walk(path):
            yield from (Path(folder) / name for name in (*names, *files))
