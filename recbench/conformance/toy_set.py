"""The toy set of the checks: walks that can be learned, and held-out items that cannot.

A user walks a ring of items, one or two places at a time. The validation and the test item are drawn at
random among the items that the user has not seen, so nothing before them says which they are: a method that
knows them has read them.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbench.base.progress import Listener
from recbench.base.root import Root
from recbench.dataset import card
from recbench.dataset.prepare import prepare
from recbench.dataset.split import PreparedSplit
from recbench.protocol import get_protocol
from recbench.running.guard.closed import closed_for

NUM_USERS, NUM_ITEMS, LONGEST = 60, 40, 14
NAME = "contract-toy"
PROTOCOL = "ilrec"
COLOURS = ("red", "green", "blue", "grey", "white")
NOUNS = ("lamp", "chair", "kettle", "violin", "rope", "clock", "map", "boat")

CARD = f"""
name = "{NAME}"
title = "Made-up walks"
noun = "thing"
citation = "none"
terms = "none"

[[sources]]
format = "normalised"
folder = "{NAME}"

[sources.interactions]
name = "interactions.csv.gz"

[sources.items]
name = "items.csv.gz"
"""


@dataclass(frozen=True, slots=True)
class Ground:
    """A folder laid out as a root, with a prepared split; fits of the trials go beside it."""

    root: Root
    split: PreparedSplit
    closed: tuple[Path, ...]
    """Files and folders from which the test targets could be learned, beside the split."""
    planted: bool
    """Whether the held-out items are the random ones of the toy set."""

    @property
    def trials(self) -> Path:
        """What trials leave beside fits and stages."""
        return self.root.path / "trials"


def toy_place(folder: Path) -> Ground:
    """The toy set below `folder`, prepared."""
    raw = folder / "raw" / NAME
    raw.mkdir(parents=True)
    (folder / "datasets").mkdir()
    (folder / "datasets" / f"{NAME}.toml").write_text(CARD, encoding="utf-8")
    rows = ["user_id,item_id,position"]
    for user, items in enumerate(walks()):
        rows += [f"{user},{item},{position}" for position, item in enumerate(items)]
    _write(raw / "interactions.csv.gz", rows)
    titles = [f"{item},{COLOURS[item % 5]} {NOUNS[item % 8]},{NOUNS[item % 8]}" for item in range(NUM_ITEMS)]
    _write(raw / "items.csv.gz", ["item_id,title,categories", *titles])
    root = Root(path=folder, environ={"RECBENCH_DATA": str(folder / "raw")})
    split = prepare(card.find(NAME, folder), get_protocol(PROTOCOL), cache=root.cache, data_dir=root.data_dir)
    return Ground(root, split, closed_for(NAME, root), planted=True)


def real_place(folder: Path, dataset: str, user_root: Root, users: int, listener: Listener) -> Ground:
    """So many users of a real dataset, prepared below `folder`. MissingError without its raw files."""
    root = Root(path=folder)
    split = prepare(
        card.find(dataset, user_root.path),
        get_protocol(PROTOCOL),
        cache=root.cache,
        data_dir=user_root.data_dir,
        offline=user_root.offline,
        limit_users=users,
        report=listener,
    )
    return Ground(root, split, closed_for(dataset, user_root), planted=False)


def walks(seed: int = 0) -> list[list[int]]:
    """The items of each user: a walk without repetition, then two random items that are not on it."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(NUM_USERS):
        item, items = int(rng.integers(NUM_ITEMS)), []
        for _ in range(int(rng.integers(6, LONGEST - 1))):
            items.append(item)
            item = (item + int(rng.integers(1, 3))) % NUM_ITEMS
        others = np.setdiff1d(np.arange(NUM_ITEMS), items)
        found.append([*items, *rng.choice(others, size=2, replace=False).tolist()])
    return found


def _write(path: Path, lines: list[str]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.write("\n".join(lines) + "\n")
