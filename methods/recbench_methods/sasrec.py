"""SASRec: self-attention over the history (Kang & McAuley 2018, arXiv 1808.09781)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recbench.data import TrainingData
from recbench.method import RunContext, Space
from recbench.scorer import ScoreItems, Scorer
from recbench.sequential import SASREC_VERSION, SASRecParams

WEIGHTS = "sasrec.safetensors"


@dataclass(kw_only=True)
class SASRec(SASRecParams, Scorer):
    """Self-attentive sequential recommendation, with the softmax over the whole catalogue.

    score(i) = <state after the history, embedding of i>; cross-entropy at every position of a row, as in
    RecBole. The paper trains against one sampled negative.

    The training is a shared stage: an LLM method that takes its rewards from SASRec reuses it.
    """

    version: ClassVar[int] = SASREC_VERSION
    space: ClassVar[Space] = {
        "lr": (5e-4, 1e-3, 2e-3, 3e-3),
        "dropout": (0.1, 0.3, 0.5),
        "dim": (64, 128),
    }
    requires: ClassVar[tuple[str, ...]] = ("torch", "safetensors")
    extra: ClassVar[str] = "train"

    def fit(self, data: TrainingData, /, *, run: RunContext) -> None:
        from recbench.sequential import fit_shared_sasrec

        fit_shared_sasrec(data, run, self, run.workdir / WEIGHTS)

    def restore(self, _data: TrainingData, run: RunContext) -> ScoreItems:
        from recbench.sequential import load_sasrec, sasrec_scores

        model = load_sasrec(run.workdir / WEIGHTS, device=run.device)
        return lambda requests: sasrec_scores(model, requests.history)
