"""LLaRA's curriculum over prompts: from titles alone to titles with projected collaborative embeddings."""

from __future__ import annotations


def hybrid_probability(step: int, steps: int) -> float:
    """The chance step/steps that a batch is shown hybrid prompts, after `step` of all `steps`.

    `step` counts optimiser steps of the whole training. LLaRA's code counts within data-loader workers that
    are made anew each epoch, so that there the chance never exceeds 1/epochs; the method intends 1.
    """
    if not 0 <= step <= steps or steps == 0:
        raise ValueError(f"step must lie between 0 and steps, and steps above 0, not {step} of {steps}")
    return step / steps
