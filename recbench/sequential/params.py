"""Hyperparameters of SASRec, DROS and DLLM2Rec, apart from the models, so that methods load without torch."""

from __future__ import annotations

from dataclasses import dataclass

from recbench.ranges import Count, Dropout, NotNegative, Positive, Whole

SASREC_VERSION = 1
"""Raised whenever a number that SASRec produces can change."""
DROS_VERSION = 2
"""Raised whenever a number that DROS or DLLM2Rec produces can change."""


@dataclass(kw_only=True)
class SASRecParams:
    """The defaults were chosen on validation NDCG@10 of ml-100k; trials in benchmarks/tuning/."""

    dim: Count = 64
    """Width of the item vectors."""
    layers: Count = 2
    """Blocks of attention and feed-forward layer."""
    heads: Count = 1
    """Heads of the attention; they divide `dim`."""
    inner: Count = 128
    """Width of the feed-forward layer."""
    dropout: Dropout = 0.3
    """Of item vectors, attention and feed-forward layer, in training."""
    lr: Positive = 2e-3
    """Learning rate of Adam, the same in all epochs."""
    weight_decay: NotNegative = 0.0
    """L2 penalty, as Adam adds it to the gradient."""
    batch: Count = 64
    """Rows of an optimiser step; a row has at most as many targets as the protocol's window has items."""
    stride: Whole = 0
    """New targets in each row after the first, for a sequence longer than the window; 0: a whole window.
    With few, every target has nearly a full window before it, as in ranking, and an epoch has more rows."""
    averaging: Dropout = 0.0
    """Decay per step of a moving average of the weights, which is validated and kept in place of the weights;
    0: no average."""
    epochs: Count = 12
    """Most passes over the training sequences."""
    patience: Count = 5
    """Training ends after this many epochs without a better validation NDCG@10."""

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise ValueError(f"dim ({self.dim}) is not a multiple of heads ({self.heads})")


@dataclass(kw_only=True)
class DROSParams(SASRecParams):
    """SASRec with one block, one head and an output layer, and the two numbers of the robust term."""

    layers: Count = 1
    """Blocks of attention and feed-forward layer."""
    inner: Count = 64
    """Width of the feed-forward layer."""
    dropout: Dropout = 0.1
    """Of item vectors, attention and feed-forward layer, in training."""
    lr: Positive = 1e-3
    """Learning rate of Adam, the same in all epochs."""
    weight_decay: NotNegative = 1e-6
    """L2 penalty, as Adam adds it to the gradient."""
    epochs: Count = 60
    """Most passes over the training sequences."""
    patience: Count = 10
    """Training ends after this many epochs without a better validation NDCG@10."""
    alpha: NotNegative = 0.5
    """Weight of the robust term. DROS's code leaves it at 0, which is plain SASRec; 0.5 is the command that
    DLLM2Rec's authors publish, whose student is DROS."""
    beta: Positive = 1.0
    """Temperature of the robust term: the smaller, the more the worst item counts."""


@dataclass(kw_only=True)
class DLLM2RecParams(DROSParams):
    """DROS as the student, and the weights of the teacher's vectors and lists.

    alpha, embedding_weight and distillation are those of the command in the published code's README; without
    options its program takes 1.0, 0.2 and 0.8. Its weights do not decay, unlike DROS's.
    """

    weight_decay: NotNegative = 0.0
    patience: Count = 30
    """As in `dros`, but longer: validation may stay at the level of popularity for the first ten epochs and
    more, which 10 took for the end."""
    embedding_weight: NotNegative = 0.3
    """Weight omega of the teacher's item vectors in the student's input."""
    distillation: NotNegative = 0.7
    """Weight lambda of the loss on the teacher's items."""
    position: NotNegative = 0.3
    """Weight of a teacher's item for its position in the teacher's list."""
    confidence: NotNegative = 0.5
    """Weight for its nearness to the teacher's answer."""
    consistency: NotNegative = 0.1
    """Weight for being in the student's own current list."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.position + self.confidence <= 0:
            raise ValueError("position and confidence are both 0, so a teacher's item may have no weight")
