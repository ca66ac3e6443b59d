"""Hyperparameters of SASRec, DROS and DLLM2Rec, apart from the models, so that methods load without torch."""

from __future__ import annotations

from dataclasses import dataclass

SASREC_VERSION = 1
"""Raised whenever a number that SASRec produces can change."""
DROS_VERSION = 2
"""Raised whenever a number that DROS or DLLM2Rec produces can change."""


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
    """New targets in each row after the first, for a sequence longer than the window; 0: a whole window.
    With few, every target has nearly a full window before it, as in ranking, and an epoch has more rows."""
    averaging: float = 0.0
    """Decay per step of a moving average of the weights, which is validated and kept in place of the weights;
    0: no average."""
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


@dataclass(kw_only=True)
class DROSParams(SASRecParams):
    """SASRec with one block, one head and an output layer, and the two numbers of the robust term."""

    layers: int = 1
    inner: int = 64
    dropout: float = 0.1
    lr: float = 1e-3
    weight_decay: float = 1e-6
    epochs: int = 60
    patience: int = 10
    alpha: float = 0.5
    """Weight of the robust term. DROS's code leaves it at 0, which is plain SASRec; 0.5 is the command that
    DLLM2Rec's authors publish, whose student is DROS."""
    beta: float = 1.0
    """Temperature of the robust term: the smaller, the more the worst item counts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha < 0 or self.beta <= 0:
            raise ValueError("alpha is at least 0 and beta above 0")


@dataclass(kw_only=True)
class DLLM2RecParams(DROSParams):
    """DROS as the student, and the weights of the teacher's vectors and lists.

    alpha, embedding_weight and distillation are those of the command in the published code's README; without
    options its program takes 1.0, 0.2 and 0.8. Its weights do not decay, unlike DROS's.
    """

    weight_decay: float = 0.0
    embedding_weight: float = 0.3
    """Weight omega of the teacher's item vectors in the student's input."""
    distillation: float = 0.7
    """Weight lambda of the loss on the teacher's items."""
    position: float = 0.3
    """Weight of a teacher's item for its position in the teacher's list."""
    confidence: float = 0.5
    """Weight for its nearness to the teacher's answer."""
    consistency: float = 0.1
    """Weight for being in the student's own current list."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.position, self.confidence, self.consistency, self.distillation) < 0:
            raise ValueError("weights are at least 0")
        if self.position + self.confidence <= 0:
            raise ValueError("position and confidence are both 0, so a teacher's item may have no weight")
