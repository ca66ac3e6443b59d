"""The first ten items of each list, kept small enough that the records of a board carry them.

`top10.npz`: `items` [R, 10], the item's number plus one in the smallest unsigned type that holds the
catalogue, 0 where a list is shorter.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.results import bundle
from recbench.results.bundle import Bundle

FILE = "top10.npz"
PLACES = 10


def write(folder: Path, items: NDArray[Any], num_items: int) -> None:
    """Keep the first places of the rankings `items` [R, K], -1 padding, of `num_items` items."""
    small = np.min_scalar_type(num_items)
    bundle.write_arrays(folder / FILE, items=(items[:, :PLACES] + 1).astype(small))


def lists_of(run: Bundle) -> NDArray[np.int32] | None:
    """[R, K] all places of a run, or the first ten of a board's record; None where it has neither."""
    if (run.path / "topk.npz").exists():
        return run.topk()["items"].astype(np.int32)
    return read(run.path)


def read(folder: Path) -> NDArray[np.int32] | None:
    """[R, 10] the items, -1 padding; None for a run of an earlier version, which kept none."""
    path = folder / FILE
    if not path.exists():
        return None
    items: NDArray[np.int32] = bundle.read_arrays(path)["items"].astype(np.int32) - 1
    return items
