"""Caser: convolutions over the history (Tang & Wang 2018, arXiv 1809.07426). RecBole's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recbench.method import Space
from recbench.ranges import Count, Dropout, NotNegative
from recbench.sequential import RecBoleMethod


@dataclass(kw_only=True)
class Caser(RecBoleMethod):
    """Convolutions over the history, beside a vector for each user; RecBole's implementation.

    A user without training items shares the vector of RecBole's padding user.
    """

    model: ClassVar[str] = "Caser"
    space: ClassVar[Space] = {
        **RecBoleMethod.space,
        "dropout_prob": (0.1, 0.3, 0.5),
        "reg_weight": (0.0, 1e-4),
    }

    embedding_size: Count = 64
    """Width of the item and user vectors."""
    nv: Count = 4
    """Vertical filters."""
    nh: Count = 8
    """Horizontal filters of each height."""
    dropout_prob: Dropout = 0.4
    """Dropout behind the convolutions."""
    reg_weight: NotNegative = 1e-4
    """Weight of the norms, not squared, of embeddings and filters."""
