"""The collaborative reward of next tokens equals sums over all items."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recbench.llm.model import policy as policies
from recbench.llm.signals.reward import collaborative_reward
from recbench.llm.training.batch import collate
from recbench.llm.training.examples import next_item
from recbench.sequential.params import SASRecParams
from recbench.sequential.sasrec import cf_model, scores
from recbench.testing import tiny_settings, toy_data, toy_run


def test_the_reward_of_a_child_is_sasrecs_probability_below_it_given_the_same_history(tmp_path: Path) -> None:
    """Against a loop over all items: the mass of the items whose identifier continues so, over that of
    the items that agree so far."""
    data, run = toy_data(), toy_run(tmp_path / "fit", llm=tiny_settings())
    assert run.llm is not None
    policy = policies.start(data, run)
    examples = next_item(policy.prompts, data, run)
    rows = examples.rows[3:6]
    supervision = collate(rows, pad=0)["supervision"]
    rewards = collaborative_reward(policy.trie, data, examples, run)(supervision)

    which = supervision.columns["example"]
    model = cf_model(data, run, SASRecParams())
    probability = torch.from_numpy(scores(model, examples.history.take(which.numpy()))).double().softmax(1)
    responses = [policy.prompts.response(item) for item in range(data.num_items)]
    for index in range(0, len(supervision.label), 7):
        example, step = int(supervision.response[index]), int(supervision.step[index])
        prefix = responses[int(supervision.columns["target"][example])][:step]
        alike = [item for item in range(data.num_items) if responses[item][:step] == prefix]
        mass = float(probability[example, alike].sum())
        expected: dict[int, float] = {}
        for item in alike:
            token = responses[item][step]
            expected[token] = expected.get(token, 0.0) + float(probability[example, item]) / mass
        real = rewards.mask[index]
        result = dict(
            zip(rewards.tokens[index][real].tolist(), rewards.reward[index][real].tolist(), strict=True)
        )
        assert result == pytest.approx(expected, abs=1e-5)
