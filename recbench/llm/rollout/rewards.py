"""Rewards of responses by what is known of their items (ReRe; MiniOneRec)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbench.data import TrainingData
from recbench.llm.decoding.text_space import text_space
from recbench.llm.losses.groups import Penalty, beam_reward, rank_penalty, window_weights
from recbench.llm.model.policy import Policy
from recbench.llm.rollout.groups import ResponseGroups
from recbench.llm.rollout.rollouts import Reward
from recbench.llm.training.examples import NextItem
from recbench.method import LLMRun, RunContext
from recbench.sequential.params import SASRecParams
from recbench.sequential.sasrec import cf_model, states


def rule_reward(groups: ResponseGroups) -> Tensor:
    """[P, G] 1 for the target, else 0."""
    return groups.hit.double()


def ranking_reward(penalty: Penalty = "places", *, hits: bool = True) -> Reward:
    """1 for the target and `rank_penalty` for the misses beside one; without `hits` the penalty alone."""

    def reward(groups: ResponseGroups) -> Tensor:
        of = beam_reward if hits else rank_penalty
        return of(groups.hit, penalty, groups.found)

    return reward


def windowed(advantages: Tensor, groups: ResponseGroups, *, mass: float, anchor: float, tau: float) -> Tensor:
    """[P, G] the advantages, those of misses times `window_weights` of their rank among the misses."""
    weighted = advantages.clone()
    misses = groups.found & ~groups.hit
    for prompt in range(len(weighted)):
        places = misses[prompt].nonzero()[:, 0]
        weights = window_weights(len(places), anchor=anchor, mass=mass, tau=tau)
        weighted[prompt, places] *= weights.to(weighted)
    return weighted


def semantic_reward(policy: Policy, data: TrainingData, run: LLMRun) -> Reward:
    """The cosine of the vectors of target and response: those of `text_space`."""
    vectors = text_space(policy, data, run).vectors.astype(np.float64)
    return cosine_reward(vectors)


def cosine_reward(vectors: NDArray[np.float64]) -> Reward:
    """The cosine of the vectors [I, D] of target and response; 0 with a vector of length 0."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)

    def reward(groups: ResponseGroups) -> Tensor:
        found = np.einsum("pgd,pd->pg", unit[groups.items.clip(0)], unit[groups.target])
        return torch.from_numpy(found)

    return reward


def sasrec_reward(examples: NextItem, data: TrainingData, run: RunContext) -> Reward:
    """The logit of the response after the history, by the SASRec that all fits of a split share."""
    model = cf_model(data, run, SASRecParams())
    of_histories = states(model, examples.history).cpu()
    of_items = model.item.weight.detach().cpu()

    def reward(groups: ResponseGroups) -> Tensor:
        items = of_items[torch.from_numpy(groups.items.clip(0))]
        return (items * of_histories[torch.from_numpy(groups.example)][:, None]).sum(-1).double()

    return reward
