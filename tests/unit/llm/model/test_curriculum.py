"""LLaRA's curriculum over prompts."""

from __future__ import annotations

import pytest

from recbench.llm.model.hybrid import hybrid_probability


@pytest.mark.parametrize(("step", "expected"), [(0, 0.0), (10, 0.25), (20, 0.5), (40, 1.0)])
def test_the_chance_of_a_hybrid_prompt_is_the_share_of_training_done(step: int, expected: float) -> None:
    assert hybrid_probability(step, 40) == expected


@pytest.mark.parametrize(("step", "steps"), [(-1, 40), (41, 40), (0, 0)])
def test_a_step_outside_the_training_is_refused(step: int, steps: int) -> None:
    with pytest.raises(ValueError, match="between 0 and steps"):
        hybrid_probability(step, steps)
