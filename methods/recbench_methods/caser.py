"""Caser (Tang & Wang 2018, arXiv 1809.07426): RecBole's implementation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recbench.method import Space
from recbench.sequential.recbole_method import RecBoleMethod


@dataclass(kw_only=True)
class Caser(RecBoleMethod):
    """Convolutions over the history, and a vector for each user, who must be in the training. RecBole's."""

    model: ClassVar[str] = "Caser"
    space: ClassVar[Space] = {
        **RecBoleMethod.space,
        "dropout_prob": (0.1, 0.3, 0.5),
        "reg_weight": (0.0, 1e-4),
    }

    embedding_size: int = 64
    nv: int = 4
    """Vertical filters."""
    nh: int = 8
    """Horizontal filters of each height."""
    dropout_prob: float = 0.4
    reg_weight: float = 1e-4
    """On the norms of the embeddings and filters, not squared."""
