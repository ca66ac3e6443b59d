"""Features of the items and requests of a run, kept in its bundle: lists can be measured and requests be
grouped later, at any cutoff, without the dataset.

R requests, I items, L labels at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.data import Catalogue, Ints, Requests
from recbench.errors import MissingError
from recbench.results import bundle
from recbench.results.bundle import Bundle

FILE = "context.npz"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context:
    item_popularity: NDArray[Any]  # [I] training interactions
    item_labels: NDArray[Any]  # [I, L] labels of the item's category by number, -1 padding
    target_popularity: NDArray[Any]  # [R] training interactions of the target
    history_length: NDArray[Any]  # [R] all earlier items of the user, also before the window
    history_popularity: NDArray[Any]  # [R] mean training interactions of the history inside the window


def request_numbers(users: Sequence[str] | NDArray[Any]) -> Ints:
    """[R] 1 for a user's first request, 2 for the second, ..., in the order of the requests."""
    _, numbers = np.unique(np.asarray(users), return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    counts = np.bincount(numbers)
    places = np.empty(len(numbers), dtype=np.int64)
    places[order] = np.arange(len(numbers)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    return places


def request_names(users: Sequence[str], numbers: Sequence[int] | Ints) -> list[str]:
    """A name for each request: the user's, with `#2` behind it for the second, and so on."""
    return [user if number == 1 else f"{user} #{number}" for user, number in zip(users, numbers, strict=True)]


def context_of(catalogue: Catalogue, requests: Requests, targets: Ints) -> Context:
    """The context of requests with these targets [R]; `requests.excluded` are all earlier items."""
    popularity, history, seen = catalogue.popularity, requests.history, requests.excluded
    assert seen is not None
    sums = np.add.reduceat(popularity[history.values].astype(np.float64), history.offsets[:-1])
    return Context(
        item_popularity=popularity.astype(np.int32),
        item_labels=number_labels(catalogue.categories),
        target_popularity=popularity[targets].astype(np.int32),
        history_length=seen.lengths.astype(np.int32),
        history_popularity=(sums / history.lengths).astype(np.float32),
    )


def number_labels(categories: Sequence[str]) -> NDArray[np.int32]:
    """[I, L] the labels of each item's category text: the parts of a path `A > B > C`, else its words."""
    parts = [dict.fromkeys(text.split(" > ") if " > " in text else text.split()) for text in categories]
    names = sorted({label for row in parts for label in row})
    numbers = {label: number for number, label in enumerate(names)}
    labels = np.full((len(parts), max(map(len, parts), default=0)), -1, dtype=np.int32)
    for row, own in enumerate(parts):
        labels[row, : len(own)] = [numbers[label] for label in own]
    return labels


def write(folder: Path, context: Context) -> None:
    bundle.write_arrays(folder / FILE, **asdict(context))


def read(run: Bundle) -> Context:
    """The features of a run. MissingError for a bundle without them."""
    path = run.path / FILE
    if not path.exists():
        raise MissingError(
            f"run {run.id} ({run.label}) has no {FILE}",
            why="lists and groups of requests are measured by it, and an older run has none",
            fix="repeat it: recbench run with the same selection and --force",
        )
    arrays = bundle.read_arrays(path)
    return Context(**{field.name: arrays[field.name] for field in fields(Context)})
