"""The Hugging Face model under its wrappers, and the mode in which it scores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def base_causal_lm(model: nn.Module) -> Any:
    """The Hugging Face model itself, also under a peft wrapper."""
    # a module's attributes are tensors or modules to mypy; peft's wrapper has this one as a method
    return model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]


@contextmanager
def scoring(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the mode that the model was in comes back afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
