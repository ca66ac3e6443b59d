"""The weights that a policy had, to read with them again while it trains on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from recbench.llm.model.policy import Policy

FILE = "reference.pt"


class Reference:
    """A copy of the weights that a policy trains, as they are now; the others never change."""

    def __init__(self, policy: Policy) -> None:
        parts = [policy.model, *([policy.inputs] if policy.inputs is not None else [])]
        self.trained: list[nn.Parameter] = [
            weight for part in parts for weight in part.parameters() if weight.requires_grad
        ]
        self.kept = [weight.detach().clone() for weight in self.trained]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The policy has the kept weights inside this context, in which nothing may train."""
        own = [weight.data for weight in self.trained]
        try:
            for weight, kept in zip(self.trained, self.kept, strict=True):
                weight.data = kept
            yield
        finally:
            for weight, data in zip(self.trained, own, strict=True):
                weight.data = data

    @torch.no_grad()
    def follow(self, share: float) -> None:
        """reference <- (1 - share) reference + share policy."""
        for kept, weight in zip(self.kept, self.trained, strict=True):
            kept.lerp_(weight.detach(), share)

    def save(self, folder: Path) -> None:
        torch.save(self.kept, folder / FILE)

    def load(self, folder: Path) -> None:
        stored = torch.load(folder / FILE, map_location="cpu", weights_only=True)  # not all on the first GPU
        for kept, weight in zip(self.kept, stored, strict=True):
            kept.copy_(weight)
