"""Files and folders that appear whole or not at all, and TOML."""

from __future__ import annotations

import shutil
import tomllib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbench.errors import DataError


def write_text(path: Path, text: str) -> None:
    """Replace `path` by a file of `text` in one rename; several processes may do so at once."""
    partial = _beside(path)
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid TOML", why=str(error)) from None
