from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recbench.data import Ints, TrainingData
from recbench.extend import IdentifierScheme


@dataclass(frozen=True, kw_only=True)
class PlaceDigits(IdentifierScheme):
    """An item's place by training popularity, written in digits: a floor that knows nothing of content."""

    version: ClassVar[int] = 1

    shuffled: bool = False
    """Whether places are drawn, so that the digits know nothing at all."""

    def codes(self, data: TrainingData, *, levels: int, codes: int, seed: int) -> Ints:
        order = np.argsort(-data.catalogue.popularity, kind="stable")
        if self.shuffled:
            order = np.random.default_rng(seed).permutation(data.num_items)
        place = np.empty(data.num_items, dtype=np.int64)
        place[order] = np.arange(data.num_items)
        digits: Ints = place[:, None] // codes ** np.arange(levels)[::-1] % codes
        return digits
