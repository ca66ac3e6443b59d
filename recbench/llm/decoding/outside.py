"""Rankers of other packages: what is asked of one, and its answer, which is never certified.

R requests, K places of a list. No module of a learning library is imported before a ranker ranks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

from recbench.base.extensions import extension
from recbench.data import Requests, TrainingData
from recbench.method import LLMRun
from recbench.ranking import Ranking, as_ranking
from recbench.settings import OutsideRanker

if TYPE_CHECKING:
    from recbench.llm.decoding.search import Searched
    from recbench.llm.model.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankingTask:
    """What is asked of a ranker: the `k` best items of each request by the fitted policy."""

    policy: Policy
    requests: Requests
    """With the items that may be ranked as `allowed`, and those that may not as `excluded`."""
    data: TrainingData
    run: LLMRun
    k: int

    def exact(self, k: int) -> Searched:
        """[R, k] the best items by log-probability in nats, as the ranker `exact` finds them; -1 after the
        last."""
        from recbench.llm.decoding.search import search_exact

        requests, policy = self.requests, self.policy
        return search_exact(
            policy.model,
            policy.trie,
            policy.prompts.for_histories(requests.history),
            k=k,
            tie=policy.tie,
            allowed=requests.allowed,
            excluded=requests.excluded,
            edges=policy.edges,
            progress=lambda done: self.run.report.progress("ranking", done, len(requests)),
        )


class ItemRanker(Protocol):
    """A dataclass of the ranker's parameters, given as `--ranker NAME:key=value`.

    A parameter `batch` says how many requests are ranked together; else 64 are.
    """

    version: ClassVar[int] = 1
    """Raised whenever a ranking can change."""

    def rank(self, task: RankingTask) -> Ranking:
        """The K best items of each request, in the requests' order."""
        ...


def rank_outside(ranker: OutsideRanker, task: RankingTask) -> Ranking:
    """By the class that the ranker's package brings."""
    found = extension.load("ranker", ranker.name)
    built: ItemRanker = found.build(ranker.parameters)
    with found.faults("when it ranks"):
        return replace(as_ranking(built.rank(task)), certified=None)
