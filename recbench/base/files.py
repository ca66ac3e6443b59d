"""Files that are there whole or not at all."""

from __future__ import annotations

import uuid
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Put `text` in the place of `path` by one rename; several processes may do so at once."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
