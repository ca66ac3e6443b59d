"""From a policy to a ranking of the catalogue, by the ranker of the run."""

from __future__ import annotations

from dataclasses import asdict

from recbench.data import Requests, TrainingData
from recbench.llm.beam import search_beam
from recbench.llm.policy import Policy
from recbench.llm.search import SearchPlan, search_exact
from recbench.method import RunContext
from recbench.ranking import Ranking
from recbench.settings import BeamRanker, ExactRanker


def rank(policy: Policy, requests: Requests, *, data: TrainingData, k: int, run: RunContext) -> Ranking:
    """The k best items of each request, by the ranker of the run's settings."""
    assert run.llm is not None
    ranker = run.llm.ranker
    room = policy.prompts.longest_response
    prompts = [policy.prompts.prompt_with_room(history.tolist(), room) for history in requests.history]

    def progress(done: int) -> None:
        run.report.progress("ranking", done, len(prompts))

    common = {
        "k": k,
        "tie": policy.tie,
        "allowed": requests.allowed,
        "excluded": requests.excluded,
        "progress": progress,
    }
    match ranker:
        case ExactRanker():
            plan = SearchPlan(**asdict(ranker))
            found = search_exact(policy.model, policy.trie, prompts, plan=plan, **common)
        case BeamRanker():
            found = search_beam(
                policy.model, policy.trie, prompts, width=ranker.width, batch=ranker.batch, **common
            )
    return Ranking(
        items=found.items,
        scores=found.scores,
        certified=found.certified,
        stats={f"{name}_per_user": float(values.mean()) for name, values in found.stats.items()},
    )
