"""Rankings by D3's and IGD's decoding: certified, and those of scoring every item by brute force.

The catalogue of the worked example: ab$, ac$, a$, bde$, c$, with the tokens a, b, c, d, e, $ as 0..5.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbench.errors import UsageError
from recbench.llm.decoding.leaves import LEAST_SHARE, EdgeScorer, log_shares
from recbench.llm.decoding.rank import rank
from recbench.llm.decoding.search import Collaborative, SearchPlan
from recbench.llm.items.edges import EdgeScores, decoding_factors, target_counts
from recbench.llm.items.trie import Trie
from recbench.llm.model import policy as policies
from recbench.llm.training.examples import next_item
from recbench.results.llm_record import ranker_record
from recbench.sequential.params import SASRecParams
from recbench.sequential.sasrec import cf_model
from recbench.sequential.sasrec import scores as sasrec_scores
from recbench.settings import ExactRanker
from recbench.testing import tiny_settings, toy_data, toy_run
from tests.unit.llm.conftest import (
    assert_equals_brute_force,
    brute_force,
    codes,
    llama,
    random_prompts,
    search,
    titles,
)

TOY = Trie.build([[0, 1, 5], [0, 2, 5], [0, 5], [1, 3, 4, 5], [2, 5]])
CHANCES = torch.tensor([[0.1, 0.2, 0.3, 0.25, 0.15]], dtype=torch.float64)


def children(trie: Trie, *tokens: int) -> list[int]:
    """The children of the node that these tokens lead to."""
    node = 0
    for token in tokens:
        node = next(int(child) for child in trie.children(node) if trie.token[child] == token)
    return [int(child) for child in trie.children(node)]


def test_a_token_has_the_share_of_its_parents_probability() -> None:
    [share] = log_shares(CHANCES.log(), TOY).exp().tolist()
    assert [share[node] for node in children(TOY)] == pytest.approx([0.6, 0.25, 0.15])
    assert [share[node] for node in children(TOY, 0)] == pytest.approx([1 / 6, 1 / 3, 0.5])
    assert [share[node] for node in children(TOY, 1)] == [1.0]


@pytest.mark.parametrize(
    ("guidance", "expected"),
    [(0.8, (-1.453120, -2.028214, -2.930379)), (0.5, (-1.099760, -1.787494, -2.542907))],
)
def test_the_scores_of_the_worked_example(guidance: float, expected: tuple[float, ...]) -> None:
    logits = torch.tensor([[[1, 0.5, -0.5, 2, 0, 0.3]]], dtype=torch.float64)  # item 0's first row
    root = TOY.tables("cpu").children_of_rows(torch.tensor([[0]]))
    score = EdgeScorer.on(torch.device("cpu"), "vocab", None).guided(CHANCES.log(), TOY, guidance)
    assert score(logits, root)[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_a_score_mixes_the_two_models_logarithms() -> None:
    # 0.75 ln 0.5 + 0.25 ln 0.2 = -0.922220, 0.75 ln 0.3 + 0.25 ln 0.8 = -0.958765
    trie = Trie.build([[0, 2], [1, 2]])
    logits = torch.tensor([[[0.5, 0.3, 0.2]]], dtype=torch.float64).log()
    chances = torch.tensor([[0.2, 0.8]], dtype=torch.float64)
    root = trie.tables("cpu").children_of_rows(torch.tensor([[0]]))
    score = EdgeScorer.on(torch.device("cpu"), "vocab", None).guided(chances.log(), trie, 0.75)
    assert score(logits, root)[0].tolist() == pytest.approx([-0.922220, -0.958765], abs=1e-6)


def test_along_a_path_the_shares_are_the_items_probability_and_never_below_the_least() -> None:
    trie = Trie.build(codes(60))
    chances = torch.softmax(torch.randn(3, 60, generator=torch.Generator().manual_seed(0)).double() * 5, 1)
    share = log_shares(chances.log(), trie)
    for item in range(60):
        path = trie.path[item][trie.path[item] >= 0]
        assert share[:, path].sum(1) == pytest.approx(chances[:, item].log())
    assert (share <= 0).all()
    hopeless = torch.zeros(1, 60, dtype=torch.float64)
    hopeless[0, 7] = 1e5  # all others have the probability 0
    assert float(log_shares(hopeless, trie).min()) == pytest.approx(np.log(LEAST_SHARE))


@pytest.mark.parametrize("exhaustive", [False, True], ids=["search", "exhaustive"])
@pytest.mark.parametrize(
    ("identifiers", "normalise", "guidance", "alpha"),
    [
        (codes(30), "vocab", 0.8, 0.0),
        (codes(30), "children", 0.5, 0.0),
        (codes(30), "vocab", 0.9, 0.3),
        (codes(30), "vocab", 0.05, 0.0),
        (titles(12), "vocab", 0.8, 0.0),
    ],
    ids=["vocab", "children", "with IGD's factors", "little of the model", "titles"],
)
def test_the_certified_ranking_is_that_of_scoring_every_item(
    identifiers: list[list[int]], normalise: Any, guidance: float, alpha: float, exhaustive: bool
) -> None:
    trie, model, prompts = Trie.build(identifiers), llama(0), random_prompts(3)
    size = len(identifiers)
    logits = np.random.default_rng(3).normal(0, 6, (len(prompts), size))
    factor = decoding_factors(trie, np.random.default_rng(0).integers(0, 4, size), alpha) if alpha else None
    edges = EdgeScores(factor=factor)
    plan = SearchPlan(normalise=normalise, width=8, batch=2, budget=1 if exhaustive else 10_000)
    other = Collaborative(lambda rows: logits[rows], guidance)
    result = search(model, identifiers, prompts, plan=plan, edges=edges, collaborative=other)
    assert result.certified.all()
    chances = torch.log_softmax(torch.from_numpy(logits), 1).numpy()
    moved = False
    for row, prompt in enumerate(prompts):
        llm = brute_force(model, trie, identifiers, prompt, normalise, edges)
        same = np.array([[one == other for other in identifiers] for one in identifiers])  # one leaf
        cf = np.array([np.logaddexp.reduce(chances[row][leaf]) for leaf in same])
        truth = guidance * llm + (1 - guidance) * cf
        assert_equals_brute_force(result.items[row], truth, result.scores[row])
        moved |= np.argsort(-truth)[:10].tolist() != np.argsort(-llm)[:10].tolist()
    assert moved


def test_the_two_options_of_the_ranker_are_those_of_the_search(tmp_path: Path) -> None:
    data = toy_data()
    llm = tiny_settings()
    run = toy_run(tmp_path / "fit", llm=llm)
    policy = policies.start(data, run)
    asked = data.valid.requests.take(np.arange(2))
    counts = target_counts(data)
    assert (
        counts.tolist()
        == np.bincount(next_item(policy.prompts, data, run).target, minlength=len(counts)).tolist()
    )

    def ranked(**options: Any) -> Any:
        own = replace(run, llm=replace(llm, ranker=ExactRanker(**options)))
        return rank(policy, asked, data=data, k=5, run=own)

    plain, guided, factored = ranked(), ranked(guidance=0.3), ranked(alpha=0.5)
    assert all(one.certified.all() for one in (plain, guided, factored))
    identifiers = [
        [int(token) for token in policy.trie.token[path[1:][path[1:] >= 0]]] for path in policy.trie.path
    ]
    prompts = policy.prompts.for_histories(asked.history)
    logits = sasrec_scores(cf_model(data, run, SASRecParams()), asked.history)
    chances = torch.log_softmax(torch.from_numpy(logits).double(), 1).numpy()
    edges = EdgeScores(factor=decoding_factors(policy.trie, counts, 0.5))
    with torch.no_grad():
        for row, prompt in enumerate(prompts):
            llm_scores = brute_force(policy.model, policy.trie, identifiers, list(prompt), "vocab")
            if len({tuple(one) for one in identifiers}) == len(identifiers):
                truth = 0.3 * llm_scores + 0.7 * chances[row]
                assert_equals_brute_force(guided.items[row], truth, guided.scores[row])
            truth = brute_force(policy.model, policy.trie, identifiers, list(prompt), "vocab", edges)
            assert_equals_brute_force(factored.items[row], truth, factored.scores[row])
    policy.edges = edges
    with pytest.raises(UsageError, match="factors of its own"):
        ranked(alpha=0.5)


def test_an_identity_mentions_the_options_where_they_are_used() -> None:
    assert set(ranker_record(ExactRanker())) == {"name", "normalise", "budget", "width", "batch"}
    assert ranker_record(ExactRanker(alpha=0.1))["alpha"] == 0.1
    assert "guidance" not in ranker_record(ExactRanker(alpha=0.1))
    assert ranker_record(ExactRanker(guidance=0.9))["guidance"] == 0.9
