"""BERT4Rec: masked items of the history, filled in (Sun et al. 2019, arXiv 1904.06690). RecBole's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recbench.method import Space
from recbench.ranges import Count, Dropout, Share
from recbench.sequential import RecBoleMethod


@dataclass(kw_only=True)
class BERT4Rec(RecBoleMethod):
    """Bidirectional self-attention that fills in masked items of the history; RecBole's implementation.

    RecBole never masks a row's own target, and drops the oldest item of a history when it appends the mask.
    """

    model: ClassVar[str] = "BERT4Rec"
    space: ClassVar[Space] = {
        **RecBoleMethod.space,
        "hidden_dropout_prob": (0.1, 0.2, 0.5),
        "mask_ratio": (0.2, 0.4, 0.6),
    }

    n_layers: Count = 2
    """Blocks of the encoder."""
    n_heads: Count = 2
    """Heads of the attention."""
    hidden_size: Count = 64
    """Width of the item vectors."""
    inner_size: Count = 256
    """Width of the feed-forward layer."""
    hidden_dropout_prob: Dropout = 0.2
    """Dropout of item vectors and layers."""
    attn_dropout_prob: Dropout = 0.2
    """Dropout of the attention's weights."""
    mask_ratio: Share = 0.2
    """Share of a history's items that are masked in training."""
    ft_ratio: Share = 0.5
    """Share of the batches in which every row's last item is masked and no other item."""
