"""Content digests: they name everything that must be the same in compared runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recbench.errors import DigestError


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text. NaN and infinities are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def of_json(value: Any) -> str:
    """sha256 (64 hex digits) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def of_arrays(arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """sha256 over names, dtypes, shapes and little-endian bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def of_file(path: Path) -> str:
    """sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def of_folder(folder: Path, *, without: Collection[str] = ()) -> dict[str, str]:
    """The sha256 of every file below `folder`, by its path inside; `without` are such paths."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: of_file(path) for name, path in sorted(paths.items()) if name not in without}


def check_folder(folder: Path, recorded: Mapping[str, str], *, fix: str) -> None:
    """DigestError names the first file of `recorded`, as of `of_folder`, that has changed or is gone.

    Files that were not recorded are not looked at.
    """
    for name, expected in recorded.items():
        path = folder / name
        found = of_file(path) if path.is_file() else "no such file"
        if found != expected:
            raise DigestError(
                f"{path} has changed since it was made",
                why=f"sha256 recorded {expected}, found {found}",
                fix=fix,
            )


def short(digest: str) -> str:
    """The first 12 hex digits, by which fits and runs are named."""
    return digest[:12]


def is_short(text: str) -> bool:
    """Whether `text` has the form of a fit's or run's name."""
    return len(text) == 12 and set(text) <= set("0123456789abcdef")
