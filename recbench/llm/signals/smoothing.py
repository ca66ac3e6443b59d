"""A preference oracle: how surely a sequential recommender prefers the rejected item of a pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbench.data import Ints, TrainingData
from recbench.errors import RecbenchError
from recbench.llm.losses.preference import oracle_smoothing
from recbench.llm.training.examples import NextItem
from recbench.method import RunContext
from recbench.sequential.params import SASRecParams
from recbench.sequential.sasrec import SASRecModel, cf_model, scores, states

TEMPERATURES = (1e-2, 1e2)
"""Bounds of the fitted temperature; one that ends there was not found."""
MOST_CLIPPED = 1 / 3
"""Share of pairs at the cap above which a fit warns: their smoothing is the cap's and not their own."""
REPORTED = ("oracle_accuracy", "smoothing_mean", "smoothing_clipped_share", "smoothing_pull_mean")


@dataclass(frozen=True, slots=True, eq=False)
class PersonalSmoothing:
    """Epsilon of any pair: how surely a frozen SASRec prefers the rejected item."""

    states: Tensor  # [E, D] the model's state after each example's history
    items: Tensor  # [I, D]
    target: Tensor  # [E]
    temperature: float
    cap: float

    @torch.no_grad()
    def __call__(self, example: Tensor, rejected: Tensor) -> Tensor:
        """[B, K] of the examples [B] against the items `rejected` [B, K], at most `cap`; 0 for -1."""
        s_w, s_l = self.scores(example.to(self.items.device), rejected.to(self.items.device))
        epsilon = oracle_smoothing(s_w, s_l, temperature=self.temperature, limit=self.cap)
        return epsilon.masked_fill(rejected.to(epsilon.device) < 0, 0.0).to(rejected.device)

    def scores(self, example: Tensor, rejected: Tensor) -> tuple[Tensor, Tensor]:
        """SASRec's scores of the targets and of the rejected items, [B, K] each."""
        state = self.states[example]
        s_w = (state * self.items[self.target[example]]).sum(1)
        s_l = (state[:, None] * self.items[rejected.clamp_min(0)]).sum(2)
        return s_w[:, None].expand_as(s_l), s_l


def personal_smoothing(
    examples: NextItem, rejected: Ints, data: TrainingData, run: RunContext, *, cap: float
) -> PersonalSmoothing:
    """The smoothing of pairs of the examples, its temperature fitted on validation pairs.

    Logs the temperature and the `smoothing_report` of the pairs with `rejected` [E, K] (-1: none), and warns
    where more than a third of them are at the cap. RecbenchError where the temperature ends at a bound.
    """
    model = cf_model(data, run, SASRecParams())
    items = model.item.weight.detach()
    smoothing = PersonalSmoothing(
        states=states(model, examples.history).clone(),
        items=items,
        target=torch.from_numpy(examples.target).to(items.device),
        temperature=fitted_temperature(validation_gaps(model, data, run)),
        cap=cap,
    )
    asked = torch.from_numpy(rejected).to(items.device)
    everyone = torch.arange(len(rejected), device=items.device)
    s_w, s_l = smoothing.scores(everyone, asked)
    pairs = asked >= 0
    report = smoothing_report(s_w[pairs], s_l[pairs], smoothing(everyone, asked)[pairs], cap=cap)
    run.report.log(oracle_temperature=smoothing.temperature, **report)
    if report["smoothing_clipped_share"] > MOST_CLIPPED:
        run.report.log(
            warning=f"the smoothing of {report['smoothing_clipped_share']:.0%} of the pairs is at its cap of "
            f"{cap:g}: SASRec prefers the target in {report['oracle_accuracy']:.0%} of them, so it is no "
            "oracle for these pairs. Try rosepo:smoothing=constant or another negatives="
        )
    return smoothing


def smoothing_report(s_w: Tensor, s_l: Tensor, epsilon: Tensor, *, cap: float) -> dict[str, float]:
    """How the oracle sees N pairs, from its scores and the smoothing [N] of each; zeros where N is 0.

    `oracle_accuracy`: share of pairs in which it prefers the target, a tie counted half. `smoothing_mean`:
    mean epsilon. `smoothing_clipped_share`: share at the cap. `smoothing_pull_mean`: mean 1 - 2 epsilon, the
    share of the gradient of DPO that is left where policy and reference agree.
    """
    if not len(epsilon):
        return dict.fromkeys(REPORTED, 0.0)
    right = (s_w > s_l).float() + 0.5 * (s_w == s_l).float()
    clipped = (epsilon >= cap - 1e-6).float()
    values = (right, epsilon, clipped, 1 - 2 * epsilon)
    return {name: float(value.mean()) for name, value in zip(REPORTED, values, strict=True)}


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

    Searched between 0.01 and 100. RecbenchError where it ends at a bound: all pairs are ordered rightly, so
    that the likelihood grows down to 0, or the scores say nothing about the pairs.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, -gaps / np.exp(log_temperature)).mean())

    bounds = np.log(TEMPERATURES)
    found = minimize_scalar(loss, bounds=bounds, method="bounded").x
    if np.abs(bounds - found).min() < 0.01:
        raise RecbenchError(
            f"the temperature of the preference oracle ended at its bound, {np.exp(found):.3g}",
            why=f"SASRec prefers the target in {(gaps > 0).mean():.0%} of the validation pairs, from which "
            "no temperature follows",
            fix="-m rosepo:smoothing=constant, or rosepo:smoothing=none",
        )
    return float(np.exp(found))
