"""Zero-shot ranks the untouched backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recbench.llm.model import policy as policies
from recbench.planning import registry
from recbench.settings import Paradigm
from recbench.testing import tiny_settings, toy_data, toy_run
from recbench_methods.zero_shot import ZeroShot
from tests.unit.llm.conftest import brute_force

SaveBackbone = Callable[..., str]
DATA = toy_data(num_users=6, num_items=12, longest=8)


@pytest.mark.parametrize("lora_rank", [0, 2])
@pytest.mark.parametrize("paradigm", ["semantic-id", "title"])
def test_the_ranking_is_that_of_the_backbones_own_probabilities(
    tmp_path: Path, save_backbone: SaveBackbone, paradigm: Paradigm, lora_rank: int
) -> None:
    settings = tiny_settings(backbone=save_backbone(), paradigm=paradigm, lora_rank=lora_rank)
    run = toy_run(tmp_path / "fit", llm=replace(settings, ranker=tiny_settings().ranker))
    ZeroShot().fit(DATA, run=run)
    assert [path.name for path in run.workdir.iterdir()] == ["facts.json"]  # no weights
    fresh = ZeroShot()
    fresh.load(DATA, run=run)
    ranking = fresh.rank(DATA.valid.requests, k=12)
    untouched = policies.start(
        DATA, replace(run, llm=replace(run.llm, train=replace(run.llm.train, lora_rank=0)))
    )
    untouched.model.eval()
    responses = [untouched.prompts.response(item) for item in range(12)]
    assert ranking.scores is not None
    for row, history in enumerate(DATA.valid.requests.history):
        prompt = untouched.prompts.prompt(history.tolist())
        truth = brute_force(untouched.model, untouched.trie, responses, prompt, "vocab")
        np.testing.assert_allclose(ranking.scores[row], truth[ranking.items[row]], atol=1e-4)
        np.testing.assert_allclose(ranking.scores[row], -np.sort(-truth), atol=1e-4)


def test_it_needs_no_parent_and_is_never_said_not_to_have_trained() -> None:
    traits = registry.load("zero-shot").traits
    assert (traits.kind, traits.needs_parent, traits.starts_from) == ("llm", False, "base")
