"""Arrays as text, to send them to a child process in a line of JSON."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def packed(arrays: Mapping[str, Any]) -> str:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def unpacked(text: str) -> dict[str, NDArray[Any]]:
    """The inverse of `packed`."""
    with np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
