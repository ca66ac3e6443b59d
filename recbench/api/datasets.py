"""`recbench.datasets`: datasets as they are split, without the test targets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from recbench.data import TrainingData
    from recbench.dataset.split import PreparedSplit, Statistics


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset under a protocol: its statistics, its items, and all that a method may learn from."""

    split: PreparedSplit
    training: TrainingData

    @property
    def name(self) -> str:
        return self.split.dataset

    @property
    def statistics(self) -> Statistics:
        return self.split.statistics

    def items(self) -> pd.DataFrame:
        """A row for each item: its id in the source, title, categories, and interactions in training."""
        from recbench.api.surroundings import frame

        catalogue = self.training.catalogue
        return frame(
            {
                "item": catalogue.item_ids,
                "title": catalogue.titles,
                "categories": catalogue.categories,
                "popularity": catalogue.popularity,
            }
        )

    def to_frame(self) -> pd.DataFrame:
        """A row for each training interaction: the user's and the item's id in the source, the position in
        the user's history, oldest first, and the title."""
        import numpy as np

        from recbench.api.surroundings import frame
        from recbench.dataset.split import load_users

        sequences, catalogue = self.training.sequences, self.training.catalogue
        user = np.repeat(np.arange(len(sequences)), sequences.lengths)
        columns: dict[str, Any] = {
            "user": np.array(load_users(self.split.folder))[user],
            "position": np.arange(len(user)) - sequences.offsets[user],
            "item": np.array(catalogue.item_ids)[sequences.values],
            "title": np.array(catalogue.titles)[sequences.values],
        }
        return frame(columns)

    def __repr__(self) -> str:
        facts = self.statistics
        sizes = f"{facts.users:,} users, {facts.items:,} items, {facts.interactions:,} interactions"
        return f"<Dataset {self.name}: {sizes}>"


def load(
    name: str,
    *,
    protocol: str | None = None,
    limit_users: int | None = None,
    root: str | Path | None = None,
    offline: bool = False,
    progress: bool = True,
) -> Dataset:
    """The dataset called `name`, prepared where it is not yet, under a protocol (by default the root's).

    MissingError where its files are neither here nor may be fetched, UsageError for an unknown name.
    """
    from recbench.api.surroundings import listening, root_of
    from recbench.dataset import card
    from recbench.dataset.prepare import prepare
    from recbench.dataset.split import load_training
    from recbench.protocol import get_protocol

    place = root_of(root)
    split = prepare(
        card.find(name, place.path),
        get_protocol(place.setting("protocol", protocol) or ""),
        cache=place.cache,
        data_dir=place.data_dir,
        offline=offline or place.offline,
        limit_users=limit_users,
        report=listening(progress),
    )
    return Dataset(split, load_training(split.folder))


def names(*, root: str | Path | None = None) -> list[str]:
    """The names of all datasets that have a card: recbench's own, and those of the root."""
    from recbench.api.surroundings import root_of
    from recbench.dataset import card

    return sorted(card.available(root_of(root).path))
