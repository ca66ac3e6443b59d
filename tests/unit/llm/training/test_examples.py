"""Which training targets a language model sees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recbench.llm.items.prompts import Prompts
from recbench.llm.model import policy as policies
from recbench.llm.training.examples import next_item
from recbench.testing import tiny_settings, toy_data, toy_run


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Prompts:
    run = toy_run(tmp_path_factory.mktemp("fit") / "fit", llm=tiny_settings())
    return policies.start(toy_data(), run).prompts


@pytest.mark.parametrize("pack", ["none", "user", "user-blocks"])
def test_only_sampled_targets_are_examples_where_the_protocol_draws_a_part(
    tmp_path: Path, prompts: Prompts, pack: str
) -> None:
    run = toy_run(tmp_path / "fit", llm=tiny_settings(pack=pack))
    data = toy_data()
    whole = next_item(prompts, data, run)
    assert len(whole) == data.num_targets
    # every third place that is not the first of its row
    targets = np.setdiff1d(np.arange(len(data.sequences.values)), data.sequences.offsets[:-1])[::3]
    part = next_item(prompts, replace(data, sample=targets), run)
    assert sorted(part.target) == sorted(data.sequences.values[targets])
    assert sum(row.num_examples for row in part.rows) == len(targets)
    pairs = {(int(t), tuple(h)) for t, h in zip(whole.target, whole.history, strict=True)}
    assert {(int(t), tuple(h)) for t, h in zip(part.target, part.history, strict=True)} <= pairs
