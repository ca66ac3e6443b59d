"""The validation NDCG@10 of a policy in training, by the ranker that will rank it.

R requests of the draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from recbench.base.progress import Silent
from recbench.data import Floats, Ints, TrainingData
from recbench.llm.causal_lm import scoring
from recbench.llm.decoding.rank import rank, shares
from recbench.llm.model.policy import Policy
from recbench.method import LLMRun
from recbench.settings import SELECTION_USERS

DRAW_SEED = 0
DEPTH = 10


def drawn(num_requests: int) -> Ints:
    """The rows of the validation requests that select: all, or `SELECTION_USERS` of them, the same for every
    fit."""
    if num_requests <= SELECTION_USERS:
        return np.arange(num_requests)
    return np.sort(np.random.default_rng(DRAW_SEED).permutation(num_requests)[:SELECTION_USERS])


def gains(items: Ints, target: Ints) -> Floats:
    """[R] NDCG of the one relevant item in the rankings `items` [R, K]; 0 where it is absent."""
    found = items == target[:, None]
    values: Floats = np.where(found.any(1), 1 / np.log2(found.argmax(1) + 2), 0.0)
    return values


def validator(policy: Policy, data: TrainingData, run: LLMRun) -> Callable[[], tuple[float, int]] | None:
    """A function that gives the mean NDCG@10 of the policy as it is, and the tokens generated for it.

    Every process of the fit calls it and ranks its share; all get the value that a single process would. It
    leaves the policy as it was. None where the split has no validation requests.
    """
    rows = drawn(len(data.valid.target))
    if not len(rows):
        return None
    requests, target = data.valid.requests.take(rows), data.valid.target[rows]
    mine = shares(policy, requests, run.world_size, run=run)[run.rank]
    quiet = replace(run, report=Silent())  # the bar is that of the training

    def validate() -> tuple[float, int]:
        with scoring(policy.model), _all_inputs(policy):
            ranking = rank(policy, requests.take(mine), data=data, k=DEPTH, run=quiet)
        values = np.zeros(len(rows) + 1)
        values[mine] = gains(ranking.items, target[mine])
        values[-1] = ranking.stats.get("generated_tokens", 0.0)
        whole = _summed(values, run)
        return float(whole[:-1].mean()), int(whole[-1])

    return validate


@contextmanager
def _all_inputs(policy: Policy) -> Iterator[None]:
    """With the collaborative inputs, which a curriculum hides in some steps, as in a ranking."""
    if policy.inputs is None:
        yield
        return
    before, policy.inputs.text_only = policy.inputs.text_only, False
    try:
        yield
    finally:
        policy.inputs.text_only = before


def _summed(values: Floats, run: LLMRun) -> Floats:
    """Over the processes; each number is of one process and 0 in the others, so that the sum is exact."""
    if run.world_size == 1:
        return values
    tensor = torch.from_numpy(values).to(run.device)
    torch.distributed.all_reduce(tensor)
    total: Floats = tensor.cpu().numpy()
    return total
