"""DROS: a SASRec that is robust to shifts of the item distribution (Yang et al. 2023).

Code of the authors: https://github.com/YangZhengyi98/DROS
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recbench.data import TrainingData
from recbench.method import RunContext, Space
from recbench.scorer import ScoreItems, Scorer
from recbench.sequential import DROS_VERSION, DROSParams

if TYPE_CHECKING:
    from recbench.sequential import DROSModel

WEIGHTS = "dros.safetensors"


@dataclass(kw_only=True)
class DROS(DROSParams, Scorer):
    """A small SASRec that is robust to shifts of the item distribution.

    BCE(target, one negative) + alpha log sum_j exp(w_j (s_j - [j = target])^2 / beta): the second term is a
    soft maximum of the squared errors, and the item weights w are nearly flat.

    Network, loss and start are those of the published code, except that it leaves alpha at 0, and takes exp
    of the squares, which overflows on large logits.
    """

    version: ClassVar[int] = DROS_VERSION
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"official": {"alpha": 0.0}}
    """`official`: the published code, which leaves alpha at 0."""
    space: ClassVar[Space] = {
        "lr": (5e-4, 1e-3, 3e-3),
        "weight_decay": (1e-7, 1e-6, 1e-5, 1e-4, 1e-3),
        "alpha": (0.1, 0.5, 1.0),
    }
    requires: ClassVar[tuple[str, ...]] = ("torch", "safetensors")
    extra: ClassVar[str] = "train"

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        from recbench.sequential import dros_objective, save_sasrec, train_sasrec

        model = train_sasrec(
            data,
            self,
            seed=run.child_seed("init"),
            report=run.report,
            threads=run.threads,
            device=run.device,
            build=lambda: self._untrained(data),
            objective=dros_objective(data, self, seed=run.child_seed("negatives"), device=run.device),
        )
        save_sasrec(model, run.workdir / WEIGHTS)

    def restore(self, data: TrainingData, run: RunContext) -> ScoreItems:
        from recbench.sequential import load_sasrec, sasrec_scores

        model = load_sasrec(run.workdir / WEIGHTS, device=run.device, model=self._untrained(data))
        return lambda requests: sasrec_scores(model, requests.history)

    def _untrained(self, data: TrainingData) -> DROSModel:
        from recbench.sequential import DROSModel

        return DROSModel(self, num_items=data.num_items, history=data.history)
