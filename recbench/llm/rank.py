"""From a policy to a ranking of the catalogue, by the ranker of the run."""

from __future__ import annotations

import numpy as np

from recbench.data import Requests
from recbench.llm.beam import search_beam
from recbench.llm.policy import Policy
from recbench.llm.search import search_exact
from recbench.method import Reporter
from recbench.ranking import Ranking
from recbench.settings import ExactRanker, Ranker


def rank(policy: Policy, requests: Requests, ranker: Ranker, *, k: int, report: Reporter) -> Ranking:
    """The k best items of each request by the policy's summed log-probability."""
    raise SystemExit("to be written against search")
