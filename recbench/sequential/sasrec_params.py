"""SASRec's hyperparameters, apart from the model so that a method can declare them without torch."""

from __future__ import annotations

from dataclasses import dataclass

VERSION = 1
"""Raised whenever a number that SASRec produces can change."""


@dataclass(kw_only=True)
class SASRecParams:
    """The defaults were chosen on validation NDCG@10 of ml-100k; trials in benchmarks/tuning/."""

    dim: int = 64
    layers: int = 2
    heads: int = 1
    inner: int = 128
    """Width of the feed-forward layer."""
    dropout: float = 0.3
    lr: float = 2e-3
    weight_decay: float = 0.0
    batch: int = 64
    """Rows of an optimiser step; a row has at most as many targets as the protocol's window has items."""
    stride: int = 0
    """New targets in each row after the first of a sequence longer than the window; 0: a window's. With few
    of them every target has nearly a full window before it, as when ranking, and an epoch has more rows."""
    averaging: float = 0.0
    """Decay by step of a moving average of the weights, which then is validated and kept; 0: no average."""
    epochs: int = 12
    patience: int = 5
    """Training ends after this many epochs without a better validation NDCG@10."""

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise ValueError(f"dim ({self.dim}) is not a multiple of heads ({self.heads})")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout ({self.dropout}) is not in [0, 1)")
        if not 0 <= self.averaging < 1:
            raise ValueError(f"averaging ({self.averaging}) is not in [0, 1)")
        if self.stride < 0:
            raise ValueError(f"stride ({self.stride}) is negative")
        for name in ("dim", "layers", "heads", "inner", "batch", "epochs", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) is less than 1")
