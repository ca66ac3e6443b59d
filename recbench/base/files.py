"""Files and folders that appear whole or not at all, TOML and JSON."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tomllib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from platform import node
from tempfile import TemporaryDirectory
from typing import Any

from recbench.errors import DataError, MissingError, UsageError


def write_text(path: Path, text: str, *, mode: int = 0o666) -> None:
    """Replace `path` by a file of `text` in one rename; several processes may do so at once.

    `mode` has the permissions of the file, less those that the umask takes away.
    """
    partial = _beside(path)
    try:
        with naming(path):
            partial.touch(mode=mode)
            partial.write_text(text, encoding="utf-8", newline="\n")
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError inside names this file where it names none, as that of a disk without room."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def read_plain(path: Path) -> bytes:
    """The bytes of a file in a folder that a method may write: OSError for a link, a pipe or a device.

    Who follows a link reads, for the one that made it, what that one may not."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no plain file", str(path))
        return stream.read()


SCRATCH = "recbench-"


def scratch(within: Path | None = None) -> TemporaryDirectory[str]:
    """A temporary folder with machine and process in its name, so that `gc` knows when nobody uses it."""
    return TemporaryDirectory(
        prefix=f"{SCRATCH}{node()}-", suffix=f".{os.getpid()}", dir=within, ignore_cleanup_errors=True
    )


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes `path` by one rename at the end of the block.

    Nothing stays of it if the block raises. OSError where it cannot be made or `path` is taken.
    """
    partial = _beside(path)
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")


def parse_toml(content: bytes, path: Path | str) -> dict[str, Any]:
    """The table in a TOML file. DataError names the file `path` where it is not valid."""
    try:
        return tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # also no UTF-8, tables too deep, integers too long
        raise DataError(f"{path} is not valid TOML", why=str(error)) from None


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. ValueError for what is none, and for what is nested too deep."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(f"it is nested too deep ({error})") from None


def expanded(path: Path | str) -> Path:
    """`path` with `~` and `~user` replaced. UsageError where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"'{path}' names no folder", why=str(error), fix="write the whole path") from None


def without_links(path: Path) -> Path:
    """Absolute and without links. MissingError for a loop of links."""
    real = Path(os.path.realpath(path))
    if any(part.is_symlink() for part in (real, *real.parents)):
        raise MissingError(f"{path} is in a loop of links", fix="name the folder itself")
    return real
