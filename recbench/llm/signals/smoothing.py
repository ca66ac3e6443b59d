"""A preference oracle: how surely a sequential recommender prefers the rejected item of a pair."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbench.data import Ints, TrainingData
from recbench.llm.training.examples import NextItem
from recbench.llm.training.losses import oracle_smoothing
from recbench.method import RunContext
from recbench.sequential.params import SASRecParams
from recbench.sequential.sasrec import SASRecModel, cf_model, scores, states

TEMPERATURES = (1e-2, 1e2)
"""Bounds of the fitted temperature."""


def personal_smoothing(examples: NextItem, rejected: Ints, data: TrainingData, run: RunContext) -> Tensor:
    """[E] the smoothing of each example against its `rejected` [E] item; 0 where there is none (-1)."""
    model = cf_model(data, run, SASRecParams())
    items = model.item.weight.detach()
    state = states(model, examples.history)
    chosen = torch.from_numpy(examples.target).to(items.device)
    other = torch.from_numpy(rejected.clip(0)).to(items.device)
    s_w, s_l = ((state * items[item]).sum(1) for item in (chosen, other))
    epsilon = oracle_smoothing(s_w, s_l, temperature=fitted_temperature(validation_gaps(model, data, run)))
    return epsilon.clone().masked_fill(torch.from_numpy(rejected < 0).to(items.device), 0.0)


def validation_gaps(model: SASRecModel, data: TrainingData, run: RunContext) -> NDArray[np.float64]:
    """[V] score of each validation target minus that of another item, drawn at random."""
    rng = run.rng("oracle")
    values = scores(model, data.valid.requests.history).astype(np.float64)
    rows = np.arange(len(values))
    drawn = (data.valid.target + rng.integers(1, data.num_items, size=len(values))) % data.num_items
    gaps: NDArray[np.float64] = values[rows, data.valid.target] - values[rows, drawn]
    return gaps


def fitted_temperature(gaps: NDArray[np.float64]) -> float:
    """The temperature under which preferences sigma(gap / temperature) make `gaps` most likely.

    Searched between 0.01 and 100: if all pairs are ordered correctly, the likelihood grows down to 0.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, -gaps / np.exp(log_temperature)).mean())

    result = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(result.x))
