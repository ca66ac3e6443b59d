"""GRU4Rec: a recurrent network over the history (Hidasi et al. 2016, arXiv 1511.06939). RecBole's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recbench.method import Space
from recbench.ranges import Count, Dropout
from recbench.sequential import RecBoleMethod


@dataclass(kw_only=True)
class GRU4Rec(RecBoleMethod):
    """A recurrent network over the history; RecBole's implementation.

    Trained with cross-entropy over the whole catalogue; the paper's pairwise losses sample from the batch.
    """

    model: ClassVar[str] = "GRU4Rec"
    space: ClassVar[Space] = {
        **RecBoleMethod.space,
        "dropout_prob": (0.1, 0.3, 0.5),
        "hidden_size": (64, 128),
    }

    embedding_size: Count = 64
    """Width of the item vectors."""
    hidden_size: Count = 128
    """Width of the recurrent state."""
    num_layers: Count = 1
    """Recurrent layers."""
    dropout_prob: Dropout = 0.3
    """Dropout of the item vectors."""
