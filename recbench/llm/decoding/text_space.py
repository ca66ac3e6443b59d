"""The vector space of titles: encode a written title, and find the item nearest to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbench.data import Ints, Requests, TrainingData
from recbench.llm.decoding.ground import rank_by_vectors
from recbench.llm.items.encoders import HiddenStateEncoder, TextEncoder, TfidfSvdEncoder, Vectors
from recbench.llm.items.identifiers import DATA_SEED
from recbench.llm.items.titles import titles
from recbench.llm.model import backbone as backbones
from recbench.llm.model.policy import Policy
from recbench.llm.model.pretrained import dense_folder, pretrained_model
from recbench.method import LLMRun
from recbench.settings import backbone_class

DIM = 64


@dataclass(frozen=True, slots=True, eq=False)
class TextSpace:
    """An encoder of texts with the vectors of all titles."""

    encoder: TextEncoder
    titles: list[str]  # [I]
    vectors: Vectors  # [I, D]

    def nearest(self, texts: Sequence[str], requests: Requests, popularity: Ints) -> Ints:
        """[R] the item whose title is nearest to each text; an exact title is at distance 0."""
        items, _ = rank_by_vectors(
            self.encoder.encode(texts), self.vectors, requests=requests, popularity=popularity, k=1
        )
        return items[:, 0]


def text_space(policy: Policy, data: TrainingData, run: LLMRun) -> TextSpace:
    """Encode titles by the un-tuned language model (BIGRec) or, for a model trained from
    scratch, by TF-IDF and SVD of the catalogue's titles."""
    names = titles(data.catalogue)
    encoder: TextEncoder
    if backbone_class(run.llm.backbone) == "scratch":
        encoder = TfidfSvdEncoder.fit(names, dim=DIM, seed=DATA_SEED)
    else:
        backbone = backbones.locate(run.llm.backbone)
        model = policy.model
        if not hasattr(model, "peft_config"):  # all its weights are tuned
            folder = dense_folder(backbone, run.stages)
            model = pretrained_model(folder, precision=run.llm.train.precision, device=run.device)
        precision = run.llm.train.precision
        encoder = HiddenStateEncoder(model, policy.tokenizer, digest=f"{backbone.digest}-{precision}")

    def build(folder: Path) -> None:
        np.save(folder / "vectors.npy", encoder.encode(names))

    spec = {"encoder": encoder.digest, "catalogue": data.digests["catalogue"]}
    stored: Vectors = np.load(run.stages.get("titles", spec, build) / "vectors.npy", allow_pickle=False)
    return TextSpace(encoder, names, stored)
