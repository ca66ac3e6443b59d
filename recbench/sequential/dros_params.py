"""Hyperparameters of DROS and DLLM2Rec, apart from the models: a method declares them without torch."""

from __future__ import annotations

from dataclasses import dataclass

from recbench.sequential.sasrec_params import SASRecParams

VERSION = 1
"""Raised whenever a number that either can change."""


@dataclass(kw_only=True)
class DROSParams(SASRecParams):
    """SASRec with one block, one head and an output layer of its own; and the robust term's two numbers."""

    layers: int = 1
    inner: int = 64
    dropout: float = 0.1
    lr: float = 1e-3
    weight_decay: float = 1e-6
    epochs: int = 60
    patience: int = 10
    alpha: float = 0.1
    """Weight of the robust term; the published code leaves it at 0, which is plain SASRec."""
    beta: float = 1.0
    """Its temperature: the smaller, the more the worst item counts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha < 0 or self.beta <= 0:
            raise ValueError("alpha is at least 0 and beta above 0")


@dataclass(kw_only=True)
class DLLM2RecParams(DROSParams):
    """DROS as the student, and how much it learns from the teacher's vectors and lists."""

    embedding_weight: float = 0.3
    """Of the teacher's item vectors in the student's input."""
    distillation: float = 0.7
    """Weight lambda of the loss on the teacher's items."""
    position: float = 0.3
    """What a teacher's item weighs for its place in the teacher's list, ..."""
    confidence: float = 0.5
    """... for its nearness to what the teacher said, ..."""
    consistency: float = 0.1
    """... and for standing in the student's own list now."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.position, self.confidence, self.consistency, self.distillation) < 0:
            raise ValueError("weights are at least 0")
        if self.position + self.confidence <= 0:
            raise ValueError("position and confidence are both 0, so a teacher's item may have no weight")
