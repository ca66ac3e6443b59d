"""LLaRA's curriculum over prompts: from titles alone to titles with projected collaborative embeddings."""

from __future__ import annotations


def hybrid_probability(step: int, steps: int) -> float:
    """The probability step/steps that a batch has hybrid prompts, after `step` of `steps` optimiser steps.

    `step` counts over the whole training. LLaRA's code counts within data-loader workers, which start anew in
    each epoch, so that its probability never exceeds 1/epochs; the method intends 1.
    """
    if not 0 <= step <= steps or steps == 0:
        raise ValueError(f"step must be between 0 and steps, and steps above 0, not {step} of {steps}")
    return step / steps
