"""Rows made of groups, their columns, the rewards of their items, and the weights they are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbench.llm.losses.groups import group_advantages
from recbench.llm.rollout.groups import Ask, known_groups, make_groups
from recbench.llm.rollout.objective import GroupObjective
from recbench.llm.rollout.reference import Reference
from recbench.llm.rollout.rewards import cosine_reward, ranking_reward, rule_reward, sasrec_reward, windowed
from recbench.llm.rollout.rollouts import RolloutPlan, Rollouts, rows_of
from recbench.llm.training.examples import NextItem
from recbench.llm.training.pack import num_tokens, prefix_tree
from recbench.llm.training.scoring import logps, token_logps
from recbench.sequential import cf_model, sasrec_scores
from recbench.sequential.params import SASRecParams
from recbench.testing import toy_data, toy_run

ALL = np.arange(5)


def groups_of(policy: Any, examples: NextItem, example: list[int], items: list[list[int]]) -> Any:
    found = np.array(items)
    return known_groups(policy.trie, examples, np.array(example), found, np.zeros(found.shape))


def test_a_response_with_the_targets_identifier_is_the_target(policy: Any, examples: NextItem) -> None:
    """Targets 0, 3 and 6; items 0 and 5 share an identifier, and so do 2 and 3."""
    groups = groups_of(policy, examples, [0, 1, 3], [[1, 5, 2], [2, 0, -1], [4, 1, 2]])
    assert groups.hit.tolist() == [[False, True, False], [True, False, False], [False] * 3]
    assert groups.items.tolist() == [[1, 0, 2], [3, 0, -1], [4, 1, 2]]
    assert groups.found.tolist() == [[True] * 3, [True, True, False], [True] * 3]


def test_rewards_by_rule_and_by_rank(policy: Any, examples: NextItem) -> None:
    groups = groups_of(policy, examples, [0, 3], [[1, 5, 2, 7], [1, 2, 4, 7]])
    assert rule_reward(groups).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]
    penalties = [-0.390380, 0, -0.195190, -0.168128]
    ranked, alone = ranking_reward()(groups), ranking_reward(hits=False)(groups)
    assert ranked[0].tolist() == pytest.approx([penalties[0], 1, *penalties[2:]], abs=1e-6)
    assert alone[0].tolist() == pytest.approx(penalties, abs=1e-6)
    assert ranked[1].tolist() == alone[1].tolist() == [0, 0, 0, 0]


def test_a_cosine_rewards_what_is_near_the_target(policy: Any, examples: NextItem) -> None:
    vectors = np.zeros((8, 2))
    vectors[[0, 1, 2, 4]] = [[3, 4], [6, 8], [-4, 3], [1, 0]]
    groups = groups_of(policy, examples, [0], [[1, 2, 4, 0, 7]])
    assert cosine_reward(vectors)(groups)[0].tolist() == pytest.approx([1, 0, 0.6, 1, 0])


def test_sasrec_rewards_by_its_own_score_of_the_response(tmp_path: Path) -> None:
    from recbench.llm.items.trie import Trie

    data, run = toy_data(num_users=12), toy_run(tmp_path / "fit")
    examples = NextItem([], np.arange(3), data.sequences.take(np.arange(3)), np.array([4, 8, 2]))
    trie = Trie.build([[item + 2, 1] for item in range(data.num_items)])
    items = np.array([[4, 9, 20], [0, 3, 7]])
    groups = known_groups(trie, examples, np.array([2, 0]), items, np.zeros(items.shape))
    wanted = sasrec_scores(cf_model(data, run, SASRecParams()), examples.history.take(np.array([2, 0])))
    reward = sasrec_reward(examples, data, run)(groups).numpy()
    np.testing.assert_allclose(reward, np.take_along_axis(wanted, items, 1), rtol=1e-5)


def test_a_window_weighs_the_misses_and_no_hit(policy: Any, examples: NextItem) -> None:
    """Nine places with the hit in the third: the misses have ranks 1..8 around it."""
    scaled = [2.068743, 2.666667, 2.068743, 0.761048, 0.279974, 0.102997, 0.037890, 0.013939]
    items = np.array([[1, 2, 0, 4, 6, 7, 1, 2, 4]])
    groups = known_groups(policy.trie, examples, np.array([0]), items, np.zeros(items.shape))
    plain = group_advantages(rule_reward(groups))
    ours = windowed(plain, groups, mass=3, anchor=2, tau=1)
    ratio = (ours / plain)[0].tolist()
    assert ratio == pytest.approx([*scaled[:2], 1, *scaled[2:]], abs=1e-6)


def test_a_rows_responses_have_the_log_probabilities_that_they_have_alone(
    policy: Any, examples: NextItem
) -> None:
    groups = make_groups(policy, examples, ALL, Ask("exact", 4))
    rows = rows_of(policy.prompts, policy.trie, groups, [2, 1, 2])
    assert [row.num_examples for row in rows] == [8, 4, 8]
    values = token_logps(policy, rows)
    assert values.shape == (20, max(len(policy.prompts.response(int(item))) for item in groups.items.flat))
    found = 0
    for row in rows:
        for prompt, place in zip(row.facts["prompt"], row.facts["place"], strict=True):
            history = examples.history[int(groups.example[prompt])].tolist()
            response = policy.prompts.response(int(groups.items[prompt, place]))
            alone = [prefix_tree(policy.prompts.examples(history, [response]))]
            np.testing.assert_allclose(
                values[found, : len(response)], token_logps(policy, alone)[0], atol=1e-5
            )
            assert not values[found, len(response) :].any()
            assert values[found].sum() == pytest.approx(groups.scores[prompt, place], abs=1e-4)
            found += 1
    np.testing.assert_allclose(values.sum(1, dtype=np.float64), logps(policy, rows), atol=1e-5)


def test_siblings_share_their_beginnings(policy: Any, examples: NextItem) -> None:
    """Identifiers 2 5, 2 6, 2 6 7 and 3 after a prompt of two tokens: six nodes, not two and three times
    one and a seven."""
    groups = groups_of(policy, examples, [0], [[4, 2, 1, 5]])
    (row,) = rows_of(policy.prompts, policy.trie, groups, [1])
    assert sorted(row.input_ids.tolist()) == sorted([8, 21, 2, 5, 6, 7, 3])
    assert row.facts["place"].tolist() == [3, 2, 0, 1]


def plan(**settings: Any) -> RolloutPlan:
    return RolloutPlan(
        **{
            "ask": Ask("exact", 4),
            "refresh": 1,
            "sync": 0,
            "skip_flat": False,
            "precision": "fp32",
            "seed": 0,
            **settings,
        }
    )


def rollouts(policy: Any, examples: NextItem, *, beta: float = 0.1, **settings: Any) -> Rollouts:
    return Rollouts(
        policy,
        examples,
        GroupObjective(beta=beta, clip=0.2, mean_of="sequence"),
        plan(**settings),
        reward=rule_reward,
        advantage=lambda groups, rewards: group_advantages(rewards, groups.found),
    )


def test_the_columns_of_a_row_are_those_of_its_responses(policy: Any, examples: NextItem) -> None:
    source = rollouts(policy, examples, refresh=2)
    made = source.make([1, 3], step=0)
    groups = make_groups(policy, examples, np.array([1, 4, 3]), Ask("exact", 4))
    advantage = group_advantages(rule_reward(groups))
    assert [row.num_examples for row in made.rows] == [8, 4]
    for row in made.rows:
        at = row.facts["prompt"], row.facts["place"]
        np.testing.assert_array_equal(row.facts["advantage"], advantage.numpy()[at])
        np.testing.assert_array_equal(row.facts["reference"], row.facts["old"])
        np.testing.assert_allclose(row.facts["old"].sum(1), groups.scores[at], atol=1e-4)
        assert row.facts["kept"].all()
    # the search, and two passes over the rows: the reference's and that of the weights that made them
    assert made.num_read == groups.num_read + 2 * num_tokens(made.rows)
    hits = groups.hit.any(1)
    assert source.objective.facts["hit_share"] == pytest.approx(float(hits.double().mean()))
    assert source.objective.facts["flat_share"] == pytest.approx(1 - float(hits.double().mean()))
    assert source.objective.facts["distinct_items"] == len(np.unique(groups.items))
    assert source.objective.facts["reward"] == pytest.approx(float(groups.hit.sum()) / 12)


def test_without_a_divergence_no_reference_is_read(policy: Any, examples: NextItem) -> None:
    made = rollouts(policy, examples, beta=0.0).make([0, 2], step=0)
    assert {"reference", "old"}.isdisjoint(made.rows[0].facts)
    assert made.num_read == make_groups(policy, examples, np.array([0, 2]), Ask("exact", 4)).num_read


def test_flat_groups_may_be_left_out(policy: Any, examples: NextItem) -> None:
    """With two responses a prompt, some groups lack the target."""
    source = rollouts(policy, examples, ask=Ask("exact", 2), skip_flat=True)
    (row,) = source.make([1], step=0).rows
    hit = make_groups(policy, examples, np.array([1, 4]), Ask("exact", 2)).hit.any(1).numpy()
    assert row.facts["kept"].tolist() == hit[row.facts["prompt"]].tolist()


def test_the_expected_tokens_of_an_epoch_are_those_of_its_rows(policy: Any, examples: NextItem) -> None:
    source = rollouts(policy, examples)
    made = source.make([0, 1, 2, 3], step=0)
    assert source.num_tokens() == num_tokens(made.rows)


def test_the_reference_is_the_policy_as_it_was_and_may_follow_it(tmp_path: Path) -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    policy: Any = type("P", (), {"model": model, "inputs": None})()
    model.weight.data.fill_(1.0)
    reference = Reference(policy)
    model.weight.data.fill_(2.0)
    with reference.in_place():
        assert model.weight.item() == 1.0
    assert model.weight.item() == 2.0
    reference.follow(0.6)
    assert float(reference.kept[0]) == pytest.approx(1.6)
    reference.save(tmp_path)
    reference.follow(0.6)
    reference.load(tmp_path)
    assert float(reference.kept[0]) == pytest.approx(1.6)


def test_a_reference_follows_once_each_time_its_steps_have_passed(policy: Any, examples: NextItem) -> None:
    source = rollouts(policy, examples, sync=4, refresh=3)
    assert source.reference is not None
    before = [kept.clone() for kept in source.reference.kept]
    for weight in source.reference.trained:
        weight.data += 1.0
    try:
        followed = []
        for step in (0, 3, 6, 9):
            source.make([0], step)
            followed.append(float(source.reference.kept[0].flatten()[0] - before[0].flatten()[0]))
    finally:
        for weight in source.reference.trained:
            weight.data -= 1.0
    # 0.6 of the way before step 6 (4 has passed), and 0.6 of the rest before step 9 (8 has)
    assert followed == pytest.approx([0, 0, 0.6, 0.84], abs=1e-4)
