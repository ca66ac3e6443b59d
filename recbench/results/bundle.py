"""The bundle of a finished run, the folder `runs/<id>/`: written once, verified whenever it is read.

The sha256 of every file is in manifest.json, and the manifest's own in the marker `COMPLETE` or `FAILED`,
which is written last. A folder without a marker is not a bundle. Nothing in it is a pickle.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recbench.base import digest
from recbench.base.files import naming, parse_json
from recbench.data import Ints
from recbench.errors import DigestError, UsageError
from recbench.results import metrics
from recbench.results.manifest import Manifest
from recbench.results.spec import RunSpec

Status = Literal["complete", "failed"]
MARKERS: Mapping[Status, str] = {"complete": "COMPLETE", "failed": "FAILED"}
FAILURES = ("oom", "timeout", "preempted", "data", "method", "harness")
MANIFEST = "manifest.json"
BULKY = ("topk.npz", "log.txt")  # files that no metric, test or board is computed from


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    """A verified bundle. A failed run has a reason, and arrays of length 0 where it has no ranks."""

    path: Path
    manifest: Manifest
    status: Status
    reason: Mapping[str, Any] | None
    """Why the run failed: `class`, `reason`, ..."""
    files: Mapping[str, str]
    """The sha256 of each file, by its path inside the bundle."""
    ranks: NDArray[np.int32]  # [R] 1-based rank of the target, 0 = absent
    users: NDArray[Any]  # [R]
    metrics: Mapping[str, float]
    efficiency: Mapping[str, Any]

    @property
    def spec(self) -> RunSpec:
        return self.manifest.spec

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def label(self) -> str:
        """The method with its parameters that are not defaults: `ilrec`, `ilrec[beta=0.2]`."""
        return self.manifest.label

    @property
    def seed(self) -> int | None:
        """None for a method with one fit for all seeds."""
        return self.spec.fit.seed

    @property
    def digests(self) -> Mapping[str, str]:
        return self.manifest.digests

    @cached_property
    def users_digest(self) -> str:
        return digest.of_arrays({"users": self.users})

    @cached_property
    def ranks_digest(self) -> str:
        return digest.of_arrays({"ranks": self.ranks})

    def per_request(self, metric: str) -> NDArray[np.float64]:
        """[R] a metric of each request. UsageError where its cutoff exceeds the depth of the rankings."""
        return metrics.per_request(self.ranks, metrics.parse(metric, depth=self.spec.protocol.get("depth")))

    @cached_property
    def user_numbers(self) -> Ints | None:
        """[R] which user asks, by number; None where nobody asks twice."""
        names, numbers = np.unique(self.users, return_inverse=True)
        return None if len(names) == len(self.users) else numbers.astype(np.int64)

    @property
    def repeated(self) -> bool:
        """Whether some user asks twice."""
        return self.user_numbers is not None

    @property
    def num_users(self) -> int:
        """Users who ask; fewer than the requests where they ask repeatedly."""
        return len(self.users) if self.user_numbers is None else int(self.user_numbers.max()) + 1

    def topk(self) -> dict[str, NDArray[Any]]:
        """items [R, K], and where the ranker gave them scores [R, K] and certified [R]. Reads the file."""
        return read_arrays(self.path / "topk.npz")

    def curve(self) -> list[dict[str, Any]]:
        """The records of train.jsonl; empty where nothing was trained."""
        path = self.path / "train.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [parse_json(line) for line in lines if line]

    def warnings(self) -> list[str]:
        """What the fit warned of, once each."""
        return list(dict.fromkeys(point["warning"] for point in self.curve() if "warning" in point))


def create(runs: Path, run_id: str) -> Path:
    """A fresh staging folder `runs/.<id>.partial`; an older leftover of that name is removed."""
    staging = staging_of(runs, run_id)
    if staging.exists():
        shutil.rmtree(staging)
    staging.mkdir(parents=True)
    return staging


def staging_of(runs: Path, run_id: str) -> Path:
    """Where a run is until it is sealed."""
    return runs / f".{run_id}.partial"


def finish(
    staging: Path, manifest: Manifest, *, status: Status, reason: Mapping[str, Any] | None = None
) -> Path:
    """Seal the staging folder and rename it to `runs/<id>`, which is returned.

    `reason` belongs to a failed run: its `class` is one of FAILURES, its `reason` says what happened. An
    existing bundle is moved aside first and removed after, so that at every moment either one whole bundle
    or none has the name.
    """
    if (status == "failed") != (reason is not None):
        raise UsageError(f"a bundle that is {status} was given reason={reason}")
    if reason is not None and reason.get("class") not in FAILURES:
        raise UsageError(
            f"'{reason.get('class')}' is no class of failure", why=f"known: {', '.join(FAILURES)}"
        )
    files = {
        path.relative_to(staging).as_posix(): digest.of_file(path)
        for path in sorted(staging.rglob("*"))
        if path.is_file()
    }
    record = {**manifest.to_json(), "status": status, "reason": reason, "files": files}
    write_json(staging / MANIFEST, record)
    _write_marker(staging, status, _marker_text(digest.of_file(staging / MANIFEST), reason))
    folder = staging.with_name(staging.name.removeprefix(".").removesuffix(".partial"))
    aside = folder.with_name(f".{folder.name}.replaced")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
    staging.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)
    return folder


def status(folder: Path) -> Status | None:
    """The status by the marker; None without a marker, without a folder, and where it may not be read."""
    try:
        return _marked(folder)
    except PermissionError:
        return None


def _marked(folder: Path) -> Status | None:
    return next((state for state, marker in MARKERS.items() if (folder / marker).is_file()), None)


def finished_at(folder: Path) -> datetime:
    """When the marker was written. DigestError without a marker."""
    return datetime.fromtimestamp(_marker(folder).stat().st_mtime, UTC)


def reason(folder: Path) -> dict[str, Any]:
    """Why a run failed, by its marker alone; empty for a complete run, and where the marker is damaged."""
    try:
        record = parse_json(_marker(folder).read_bytes())
    except ValueError:
        return {}
    return {n: value for n, value in record.items() if n != "manifest"} if isinstance(record, dict) else {}


def _marker(folder: Path) -> Path:
    state = status(folder)
    if state is None:
        raise DigestError(f"{folder} is no finished run", why="it has neither COMPLETE nor FAILED")
    return folder / MARKERS[state]


def find(runs: Path) -> list[Path]:
    """The bundles below `runs`, complete and failed, by id, and folders that may not be read: whoever loads
    one names it. None where the folder does not exist."""
    if not runs.is_dir():
        return []
    return sorted(path for path in runs.iterdir() if path.name[0] != "." and _may_be(path))


def _may_be(folder: Path) -> bool:
    try:
        return _marked(folder) is not None
    except PermissionError:
        return True


def load(folder: Path, *, record: bool = False) -> Bundle:
    """The bundle, with every file checked against its sha256.

    DigestError names a file that differs, cannot be read or is not a plain file, and a bundle that another
    version made. A `record` is a bundle without its BULKY files.
    """
    try:
        return _loaded(folder, absent=BULKY if record else ())
    except OSError as error:
        raise DigestError(
            f"{folder} cannot be read", why=str(error), fix=f"make its files readable, or remove {folder}"
        ) from error
    except (AttributeError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise DigestError(
            f"{folder} is not a bundle of this version of recbench",
            why=f"{_version_of(folder)}; {type(error).__name__}: {error}",
            fix="read it with that version, or repeat the run",
        ) from error


def _loaded(folder: Path, *, absent: Collection[str]) -> Bundle:
    state = _marked(folder)
    if state is None:
        raise DigestError(f"{folder} is no finished run", why="it has neither COMPLETE nor FAILED")
    _refuse_links(folder)
    sealed = _verified_manifest(folder, state, absent=absent)
    manifest, recorded = Manifest.from_json(sealed), sealed["spec"]["id"]
    if manifest.spec.id != recorded:
        raise _changed(folder / MANIFEST, f"the spec gives id {manifest.spec.id}, recorded is {recorded}")
    ranks = folder / "ranks.npz"
    arrays = read_arrays(ranks) if ranks.exists() else {}
    found = Bundle(
        path=folder,
        manifest=manifest,
        status=state,
        reason=sealed["reason"],
        files=sealed["files"],
        ranks=arrays.get("ranks", np.zeros(0, dtype=np.int32)),
        users=arrays.get("users", np.zeros(0, dtype=np.int64)),
        metrics=_read_json(folder / "metrics.json"),
        efficiency=_read_json(folder / "efficiency.json"),
    )
    _check_kinds(found)
    return found


def _check_kinds(run: Bundle) -> None:
    """ValueError for what every reader of a bundle would stumble over, sealed or not."""
    values = [*run.metrics.values()] if isinstance(run.metrics, dict) else [None]
    if not all(isinstance(value, int | float) for value in values):
        raise ValueError("metrics.json is no table of numbers")
    if not isinstance(run.efficiency, dict):
        raise ValueError("efficiency.json is no table")
    if run.ranks.dtype.kind != "i" or run.ranks.ndim != 1 or run.ranks.shape != run.users.shape:
        raise ValueError(f"ranks.npz has {run.ranks.dtype} {run.ranks.shape} for {run.users.shape} users")
    if run.status == "failed" and not (isinstance(run.reason, dict) and "class" in run.reason):
        raise ValueError("it failed, and has no class of failure")


def _refuse_links(folder: Path) -> None:
    """A link could publish a file from outside; a pipe or a device would block who reads it."""
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise DigestError(
                f"{path} is a link or no plain file",
                why="a bundle has plain files alone",
                fix=f"remove {path}, or repeat the run",
            )


def _version_of(folder: Path) -> str:
    """The version of recbench that made the bundle, in words."""
    try:
        version = parse_json((folder / MANIFEST).read_bytes())["versions"]["recbench"]
    except (OSError, ValueError, KeyError, TypeError):
        return "its version is not known"
    return f"recbench {version} made it"


def is_inside(name: str) -> bool:
    """Whether a file's name in a manifest is that of a file below the bundle."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def write_json(path: Path, value: Any) -> None:
    """Readable JSON with sorted keys; ValueError for NaN and infinities."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    with naming(path):
        path.write_text(text + "\n", encoding="utf-8")


def write_arrays(path: Path, **arrays: Any) -> None:
    """A compressed npz, the same bytes for the same arrays. ValueError for arrays of objects."""
    objects = [name for name, array in arrays.items() if np.asarray(array).dtype.hasobject]
    if objects:
        raise ValueError(f"arrays of objects would be pickled: {', '.join(objects)}")
    with naming(path), path.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _marker_text(manifest_digest: str, reason: Mapping[str, Any] | None) -> str:
    return digest.canonical_json({**(reason or {}), "manifest": manifest_digest}) + "\n"


def _write_marker(staging: Path, state: Status, text: str) -> None:
    marker = staging / MARKERS[state]
    unfinished = marker.with_name(f".{marker.name}")
    with naming(marker), unfinished.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(marker)


def _verified_manifest(folder: Path, state: Status, absent: Collection[str]) -> dict[str, Any]:
    marker = folder / MARKERS[state]
    sealed = digest.of_file(folder / MANIFEST) if (folder / MANIFEST).is_file() else "no such file"
    if sealed not in marker.read_text(encoding="utf-8", errors="replace"):
        raise _changed(folder / MANIFEST, f"its sha256 is not the one in {marker.name}: {sealed}")
    manifest: dict[str, Any] = parse_json((folder / MANIFEST).read_bytes())
    if (
        manifest["status"] != state
        or marker.read_bytes() != _marker_text(sealed, manifest["reason"]).encode()
    ):
        raise _changed(marker, f"it does not say what {MANIFEST} says")
    for name, recorded in manifest["files"].items():
        if not is_inside(name):
            raise _changed(folder / MANIFEST, f"it names a file outside the bundle: {name}")
        path = folder / name
        if name in absent and not path.exists():
            continue
        actual = digest.of_file(path) if path.is_file() else "no such file"
        if actual != recorded:
            raise _changed(path, f"sha256 recorded {recorded}, found {actual}")
    return manifest


def _changed(path: Path, why: str) -> DigestError:
    return DigestError(
        f"{path} has changed since the run finished",
        why=why,
        fix="repeat the run with recbench run ... --force",
    )


def _read_json(path: Path) -> dict[str, Any]:
    return parse_json(path.read_bytes()) if path.exists() else {}
