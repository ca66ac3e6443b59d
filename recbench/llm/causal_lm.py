"""The Hugging Face model under its wrappers, and the mode in which it scores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def base_causal_lm(model: nn.Module) -> Any:
    """The Hugging Face model itself, also under a peft wrapper."""
    unwrap = getattr(model, "get_base_model", None)  # of peft's wrapper
    return model if unwrap is None else unwrap()


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
