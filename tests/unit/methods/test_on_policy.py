"""On-policy methods from fit to ranking, on toy data: what moves them, what does not, and what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbench.errors import DataError, UsageError
from recbench.llm import OnPolicyMethod
from recbench.llm.model import policy as policies
from recbench.llm.rollout.groups import Ask, make_groups
from recbench.llm.training.examples import next_item
from recbench.llm.training.pack import num_tokens
from recbench.method import ParentFit
from recbench.settings import Paradigm
from recbench_methods.dpo import DPO
from recbench_methods.rere import ReRe
from tests.unit.methods.conftest import DATA, Curve, Parents, beside, context, fit_and_rank, weights

CASES = [
    (ReRe(group_size=4), "semantic-id"),
    (ReRe(group_size=4, groups="beam", reward="semantic", mean_of="token", mask_history=True), "title"),
    (ReRe(group_size=4, groups="dynamic", reward="sasrec", mean_of="gspo", refresh=2), "hybrid"),
    pytest.param(
        ReRe(group_size=6, reward="rule", window=2, skip_flat=True), "title", marks=pytest.mark.slow
    ),
]
SETTINGS: dict[str, Any] = {"epochs": 2.0, "batch": 4, "max_rows": 8}


@pytest.mark.parametrize(("method", "paradigm"), CASES, ids=str)
def test_it_fits_moves_its_policy_and_ranks(
    tmp_path: Path, parents: Parents, method: ReRe, paradigm: Paradigm
) -> None:
    parent, curve = parents(paradigm), Curve()
    run = beside(parent, context(tmp_path / "fit", parent, curve=curve, **SETTINGS))
    ranking = fit_and_rank(method, run)
    ranking.check(DATA.valid.requests, num_items=12, depth=5)
    assert json.loads((run.workdir / "facts.json").read_text())["moved_nats"] > 1e-4
    logged = {"reward", "hit_share", "flat_share", "distinct_items", "kl"}
    assert all(len(curve.series(name)) == 4 for name in logged)
    assert curve.series("kl")[0] == pytest.approx(0, abs=1e-9)
    assert curve.series("kl")[-1] > 0
    assert curve.counts["forward_tokens"] > curve.counts["trained_tokens"] > 0


@dataclass(kw_only=True)
class Equal(OnPolicyMethod):
    """Every response has the same reward."""

    def make_reward(self, *_args: Any) -> Any:
        return lambda groups: torch.full(groups.items.shape, 0.1)


@pytest.mark.parametrize("refresh", [1, 2])
def test_equal_rewards_without_a_divergence_change_nothing(
    tmp_path: Path, parents: Parents, refresh: int
) -> None:
    parent = parents("semantic-id")
    run = context(tmp_path / "fit", parent, weight_decay=0.0, **SETTINGS)
    Equal(group_size=4, beta=0.0, refresh=refresh).fit(DATA, run=run)
    before = policies.restore(DATA, run, workdir=parent.workdir).model.state_dict()
    after = weights(run)
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())


def test_the_target_is_ahead_of_the_other_answers_by_more_than_before(
    tmp_path: Path, parents: Parents
) -> None:
    """Groups have all identifiers: the mean lead of the target's log-probability over the others grows."""
    parent, leads = parents("semantic-id"), []
    run = context(tmp_path / "fit", parent, epochs=8.0, batch=8, lr=3e-4)
    ReRe(group_size=12, reward="rule").fit(DATA, run=run)
    for folder in (parent.workdir, run.workdir):
        policy = policies.restore(DATA, run, workdir=folder)
        examples = next_item(policy.prompts, DATA, run)
        groups = make_groups(policy, examples, np.arange(len(examples)), Ask("exact", 12))
        hit = groups.hit.numpy()
        assert hit.any(1).all()
        leads.append(groups.scores[hit].mean() - groups.scores[~hit].mean())
    assert leads[1] > leads[0] + 1


def test_a_penalty_pushes_the_answers_above_the_target_down(tmp_path: Path, parents: Parents) -> None:
    """With `ranking-only` the answers above a target lose against those below it."""
    parent = parents("semantic-id")
    run = context(tmp_path / "fit", parent, epochs=8.0, batch=8, lr=3e-4)
    ReRe(group_size=12, reward="ranking-only").fit(DATA, run=run)
    before, after = (policies.restore(DATA, run, workdir=folder) for folder in (parent.workdir, run.workdir))
    examples = next_item(before.prompts, DATA, run)
    groups = make_groups(before, examples, np.arange(len(examples)), Ask("exact", 12))
    later = make_groups(after, examples, np.arange(len(examples)), Ask("exact", 12))
    gained_above, gained_below = [], []
    for items, scores, hit, items_later, scores_later in zip(
        groups.items, groups.scores, groups.hit.numpy(), later.items, later.scores, strict=True
    ):
        now = dict(zip(items_later.tolist(), scores_later.tolist(), strict=True))
        gained = np.array([now[item] for item in items.tolist()]) - scores
        place = int(hit.argmax())
        gained_above += gained[:place].tolist()
        gained_below += gained[place + 1 :].tolist()
    assert np.mean(gained_above) < np.mean(gained_below) - 0.1


@pytest.mark.parametrize(
    ("method", "stop"),
    [
        pytest.param(ReRe(group_size=4), 5, marks=pytest.mark.slow),
        (ReRe(group_size=4, refresh=2, groups="sample"), 6),
        pytest.param(ReRe(group_size=4, sync=2, beta=0.5), 5, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_an_interrupted_fit_ranks_as_one_that_was_left_alone(
    tmp_path: Path, parents: Parents, method: ReRe, stop: int
) -> None:
    parent = parents("semantic-id")
    settings: dict[str, Any] = {"epochs": 4.0, "batch": 4, "max_rows": 8, "checkpoints": 8}
    whole, curve = Curve(), Curve()
    alone = fit_and_rank(method, context(tmp_path / "alone" / "fit", parent, curve=whole, **settings))
    run = context(tmp_path / "stopped" / "fit", parent, **settings)
    with pytest.raises(KeyboardInterrupt):
        method.fit(DATA, run=replace(run, report=Curve(("training", stop))))
    assert list(run.workdir.glob("checkpoints-*/checkpoint-*"))
    continued = fit_and_rank(method, replace(run, report=curve))
    assert np.array_equal(alone.items, continued.items)
    assert alone.scores is not None
    assert continued.scores is not None
    assert np.array_equal(alone.scores, continued.scores)
    assert curve.counts == whole.counts


def test_a_budget_of_tokens_is_met_by_the_expected_tokens_of_a_row(tmp_path: Path, parents: Parents) -> None:
    """`equal-tokens` counts what passes forward and backward; what is only read is counted apart."""
    parent, curve = parents("semantic-id"), Curve()
    run = context(tmp_path / "fit", parent, curve=curve, lr=1e-5, budget_epochs=40.0, batch=4)
    policy = policies.restore(DATA, run, workdir=parent.workdir)
    total = 40 * num_tokens(next_item(policy.prompts, DATA, run).rows)
    ReRe(group_size=4).fit(DATA, run=run)
    assert curve.counts["trained_tokens"] + parent.trained_tokens == pytest.approx(total, rel=0.05)


def test_groups_without_an_alternative_are_refused_by_name(tmp_path: Path, parents: Parents) -> None:
    with pytest.raises(UsageError, match="group of one"):
        ReRe(group_size=1)
    with pytest.raises(UsageError, match="draws nothing"):
        ReRe(temperature=0.5)
    with pytest.raises(UsageError, match="covers all 15 other answers"):
        ReRe(window=15)
    parent = parents("semantic-id")
    policy = policies.restore(DATA, context(tmp_path, parent), workdir=parent.workdir, train=True)
    policy.trie = one_path(policy.trie)
    with pytest.raises(DataError, match="no node of the trie has two children"):
        ReRe().train(policy, DATA, context(tmp_path, parent))


def one_path(trie: Any) -> Any:
    """Every item has the same identifier, so that every node has one child."""
    return type(trie).build([[5, 6, 2]] * trie.num_items)


@pytest.mark.parametrize(
    ("settings", "method", "message"),
    [
        ({"sharding": "fsdp"}, ReRe(), "sharded weights"),
        ({"lora_rank": 8}, ReRe(sync=2), "does not go with LoRA"),
    ],
)
def test_what_rollouts_do_not_go_with_is_refused(
    tmp_path: Path, parents: Parents, settings: dict[str, Any], method: ReRe, message: str
) -> None:
    parent: ParentFit = parents("semantic-id")
    run = context(tmp_path, parent)
    policy = policies.restore(DATA, run, workdir=parent.workdir, train=True)
    with pytest.raises(UsageError, match=message):
        method.train(policy, DATA, context(tmp_path, parent, **settings))


def test_the_pass_of_a_reference_counts_as_rollouts_do(tmp_path: Path, parents: Parents) -> None:
    """DPO's reference reads each row once, and one epoch trains on each once."""
    parent, curve = parents("semantic-id"), Curve()
    run = context(tmp_path / "fit", parent, curve=curve, epochs=1.0)
    DPO().fit(DATA, run=run)
    (read,) = (counts for name, counts in run.stages.counts.items() if name.startswith("reference/"))
    assert read == {"forward_tokens": curve.counts["trained_tokens"]}
    assert curve.counts["forward_tokens"] == 0  # in training itself
