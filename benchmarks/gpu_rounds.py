"""What the sections of `gpu.py` share: rounds in which all ways run in turn, and ratios of one round."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

Row = dict[str, Any]


def rounds(args: argparse.Namespace) -> Iterator[int]:
    """Numbers of rounds; after the first, none begins once time is over."""
    for number in range(args.rounds):
        if number and time.monotonic() > args.until:
            return
        yield number


def spread(name: str, ratios: Any) -> Row:
    """The median of the rounds' ratios, the least and the most, and the number of rounds."""
    found = {name: np.median(ratios), "least": np.min(ratios), "most": np.max(ratios)}
    return {head: float(value) for head, value in found.items()} | {"rounds": len(ratios)}
