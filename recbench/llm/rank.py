"""From a policy to a ranking of the catalogue, by the ranker of the run."""

from __future__ import annotations

from recbench.data import Requests
from recbench.llm.beam import search_beam
from recbench.llm.policy import Policy
from recbench.llm.search import SearchPlan, search_exact
from recbench.method import Reporter
from recbench.ranking import Ranking
from recbench.settings import ExactRanker, Ranker


def rank(policy: Policy, requests: Requests, ranker: Ranker, *, k: int, report: Reporter) -> Ranking:
    """The k best items of each request by the policy's summed log-probability of their identifiers."""
    room = policy.prompts.longest_response
    prompts = [policy.prompts.prompt_with_room(history.tolist(), room) for history in requests.history]

    def progress(done: int) -> None:
        report.progress("ranking", done, len(prompts))

    if isinstance(ranker, ExactRanker):
        plan = SearchPlan(
            normalise=ranker.normalise, budget=ranker.budget, width=ranker.width, batch=ranker.batch
        )
        found = search_exact(
            policy.model,
            policy.trie,
            prompts,
            k=k,
            tie=policy.tie,
            plan=plan,
            allowed=requests.allowed,
            excluded=requests.excluded,
            progress=progress,
        )
    else:
        found = search_beam(
            policy.model,
            policy.trie,
            prompts,
            k=k,
            tie=policy.tie,
            width=ranker.width,
            batch=ranker.batch,
            allowed=requests.allowed,
            excluded=requests.excluded,
            progress=progress,
        )
    return Ranking(
        items=found.items,
        scores=found.scores,
        certified=found.certified,
        stats={f"{name}_per_user": float(values.mean()) for name, values in found.stats.items()},
    )
