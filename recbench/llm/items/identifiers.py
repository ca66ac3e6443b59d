"""Semantic ids: each item as a short sequence of codes, from coarse to fine.

I items, L levels, C codes a level.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.base import digest, params
from recbench.base.extensions import code, extension, points
from recbench.base.extensions.extension import head
from recbench.data import Catalogue, Ints, TrainingData
from recbench.errors import MissingError
from recbench.llm.items import embeddings
from recbench.llm.items.collisions import count_collided, sum_of_means, to_the_lowest, to_the_nearest
from recbench.llm.items.embeddings import has_text
from recbench.llm.items.gain import predictive_gain
from recbench.sequential.params import SASREC_VERSION
from recbench.settings import OWN_SCHEMES, IdentifierSettings
from recbench.stages import StageCache

VERSION = 6
LEVELS = "abcdefghijklmnop"
"""The letters in the tokens of the levels."""
DENSE = 40
"""Training interactions an item from which these alone tell items apart best; with fewer, text helps
(docs/identifiers.md has the trials)."""
DATA_SEED = 0
"""The seed of identifiers and of text vectors: every seed of a run trains on the same ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Identifiers:
    """The codes of every item, and how they were made."""

    codes: Ints  # [I, L]
    num_collided: int
    """Items that still share their codes with another item."""
    num_moved: int
    """Items whose last code was changed to tell them apart."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """How the codes were made and, before any item was moved: `collision_rate` (1 - distinct / items),
    `codes_per_level`, `predictive_gain` of the first code (nats), and where they come from vectors
    `reconstruction_error` (share of the vectors' variance) and `num_without_vector` (items that have neither
    text nor interactions that the embedding could use: all of them have the same vector)."""

    @property
    def digest(self) -> str:
        return digest.of_arrays({"codes": self.codes})

    @property
    def statistics(self) -> dict[str, Any]:
        """The facts with the numbers of collided and moved items, for reports."""
        return {**self.facts, "num_collided": self.num_collided, "num_moved": self.num_moved}

    def save(self, path: Path) -> None:
        np.savez(
            path,
            codes=self.codes,
            num_collided=self.num_collided,
            num_moved=self.num_moved,
            facts=json.dumps(dict(self.facts)),
        )

    @classmethod
    def load(cls, path: Path) -> Identifiers:
        with np.load(path, allow_pickle=False) as arrays:
            facts = json.loads(str(arrays["facts"]))
            return cls(arrays["codes"], int(arrays["num_collided"]), int(arrays["num_moved"]), facts)

    def token(self, level: int, code: int) -> str:
        return f"<{_level_name(level)}_{code}>"

    def vocabulary(self) -> list[str]:
        """Every code token that some item uses, level by level."""
        levels = range(self.codes.shape[1])
        return [self.token(level, int(code)) for level in levels for code in np.unique(self.codes[:, level])]

    def tokens(self) -> list[list[str]]:
        """[I] the code tokens of each item."""
        return [[self.token(level, int(code)) for level, code in enumerate(row)] for row in self.codes]


def _level_name(level: int) -> str:
    return LEVELS[level]


def make_identifiers(data: TrainingData, settings: IdentifierSettings, *, device: str = "cpu") -> Identifiers:
    """Make codes by `settings.source` and treat collisions by `settings.collisions`."""
    catalogue = data.catalogue
    source, embedding = choices(catalogue, settings)
    facts: dict[str, Any] = {"source": source}
    vectors: NDArray[np.float32] | None = None
    if source not in OWN_SCHEMES:
        codes = _outside_codes(source, data, settings)
        limit = int(codes.max()) + 1
    elif source == "given":
        if catalogue.codes is None:
            raise _no_given_codes()
        codes = catalogue.codes
        limit = int(codes.max()) + 1
    else:
        vectors = item_vectors(data, settings, embedding, device=device)
        codes, rebuilt = _coded(vectors, settings, source, device=device)
        limit = settings.codes
        facts |= {
            "embedding": embedding,
            "reconstruction_error": unexplained(vectors, rebuilt),
            "num_without_vector": int((~vectors.any(1)).sum()),
        }
    facts |= {
        "collision_rate": 1 - len(np.unique(codes, axis=0)) / len(codes),
        "codes_per_level": [len(np.unique(column)) for column in codes.T],
    }
    moved = 0
    if settings.collisions == "resolve":
        codes, moved = (
            to_the_lowest(codes, num_codes=limit)
            if vectors is None
            else to_the_nearest(codes, vectors, num_codes=limit)
        )
    facts["predictive_gain"] = predictive_gain(codes[:, 0], data.sequences, data.valid)
    return Identifiers(codes, count_collided(codes), moved, facts)


def choices(catalogue: Catalogue, settings: IdentifierSettings) -> tuple[str, str]:
    """Source and embedding with `auto` resolved; the embedding is "" where no vectors are quantised."""
    text = has_text(catalogue)
    source: str = settings.source
    if source == "auto":
        source = "given" if catalogue.codes is not None and not text else "residual-kmeans"
    embedding: str = settings.embedding
    if embedding == "auto":
        sparse = catalogue.popularity.sum() < DENSE * len(catalogue)
        embedding = "fused" if text and sparse else "collaborative"
    made = source == "given" or source not in OWN_SCHEMES
    return source, "" if made else embedding


def _outside_codes(source: str, data: TrainingData, settings: IdentifierSettings) -> Ints:
    """The codes of a scheme of another package. UnusablePluginError where they are none."""
    name, *values = source.split(":")
    scheme = extension.load("identifier", name)
    made = scheme.build(params.parse_assignments(values))
    with scheme.faults("when it makes codes"):
        codes = np.asarray(made.codes(data, levels=settings.levels, codes=settings.codes, seed=DATA_SEED))
    fits = codes.ndim == 2 and len(codes) == data.num_items and 1 <= codes.shape[1] <= len(LEVELS)
    if not fits or not np.issubdtype(codes.dtype, np.integer) or codes.min() < 0:
        raise points.UnusablePluginError(
            f"{scheme.noun} of {scheme.distribution} gives no codes",
            why=f"it gives {codes.dtype} of shape {codes.shape} for {data.num_items} items",
            fix=f"return [I, L] whole numbers from 0 on, L at most {len(LEVELS)}, in {scheme.place}",
        )
    return codes.astype(np.int64)


def item_vectors(
    data: TrainingData, settings: IdentifierSettings, embedding: str, *, device: str = "cpu"
) -> NDArray[np.float32]:
    """[I, D] the vectors that are quantised into codes."""
    if embedding == "sasrec":
        return embeddings.sasrec_vectors(data, seed=DATA_SEED, device=device)
    if embedding == "collaborative":
        return embeddings.interaction_svd(
            data.sequences, num_items=data.num_items, dim=settings.dim, seed=DATA_SEED
        )
    if embedding == "fused":
        return embeddings.fused(
            item_vectors(data, settings, "encoder" if settings.encoder else "tfidf", device=device),
            item_vectors(data, settings, "collaborative"),
            text_share=settings.text_share,
        )
    if embedding == "encoder":
        return embeddings.encoded(data.catalogue, settings.encoder, device=device)
    return embeddings.tfidf_svd(data.catalogue, dim=settings.dim, seed=DATA_SEED)


def _coded(
    vectors: NDArray[np.float32], settings: IdentifierSettings, source: str, *, device: str
) -> tuple[Ints, NDArray[Any]]:
    """[I, L] codes, and [I, D] the vectors rebuilt from them."""
    if source == "residual-kmeans":
        codes = residual_kmeans(vectors, levels=settings.levels, codes=settings.codes, seed=DATA_SEED)
        return codes, sum_of_means(vectors, codes)
    from recbench.llm.items import rqvae

    coded = rqvae.rqvae_codes(
        vectors,
        levels=settings.levels,
        codes=settings.codes,
        hidden=settings.hidden or rqvae.HIDDEN,
        epochs=settings.epochs or rqvae.EPOCHS,
        seed=DATA_SEED,
        device=device,
    )
    return coded.codes, coded.reconstruction


def _no_given_codes() -> MissingError:
    return MissingError(
        "this dataset came without semantic ids",
        why="identifiers.source=given takes the codes in a source's `codes` file",
        fix="--set identifiers.source=residual-kmeans; or name the file in the card, [sources.codes]",
    )


def residual_kmeans(vectors: NDArray[np.float32], *, levels: int, codes: int, seed: int) -> Ints:
    """[I, L] codes: level l clusters the residuals that the centres of earlier levels leave."""
    from sklearn.cluster import KMeans

    residual = vectors.astype(np.float64)
    columns = []
    for level in range(levels):
        distinct = len(np.unique(residual.round(12), axis=0))
        kmeans = KMeans(min(codes, distinct), n_init=1, max_iter=50, random_state=seed + level).fit(residual)
        columns.append(kmeans.labels_.astype(np.int64))
        residual = residual - kmeans.cluster_centers_[kmeans.labels_]
    return np.stack(columns, axis=1)


def unexplained(vectors: NDArray[Any], rebuilt: NDArray[Any]) -> float:
    """The reconstruction error: squared error as a share of the vectors' variance."""
    error = float(((vectors - rebuilt) ** 2).sum())
    return error / max(float(((vectors - vectors.mean(0)) ** 2).sum()), 1e-30)


def shared_identifiers(
    data: TrainingData, settings: IdentifierSettings, *, stages: StageCache, device: str = "cpu"
) -> Identifiers:
    """The identifiers of this split's items, made once and shared by every fit of a block.

    The stage has `identifiers.npz`, and `identifiers.json` with each item's codes by its id.
    """
    spec: dict[str, Any] = {
        "catalogue": data.digests["catalogue"],
        "version": VERSION,
        **_as_json(settings),
    }
    if reads_encoder(settings):
        spec["encoder"] = embeddings.encoder_digest(settings.encoder)  # by content: the folder may move
    if settings.source not in OWN_SCHEMES:
        spec["scheme"] = code.digest_of(points.point_of("identifier", head(settings.source)))
    if settings.embedding == "sasrec":
        spec["sasrec_version"] = SASREC_VERSION

    def build(folder: Path) -> None:
        identifiers = make_identifiers(data, settings, device=device)
        identifiers.save(folder / "identifiers.npz")
        index = dict(zip(data.catalogue.item_ids, identifiers.tokens(), strict=True))
        record = {**identifiers.statistics, "index": index}
        (folder / "identifiers.json").write_text(json.dumps(record, indent=1), encoding="utf-8")

    return Identifiers.load(stages.get("identifiers", spec, build) / "identifiers.npz")


def reads_encoder(settings: IdentifierSettings) -> bool:
    """Whether a language model encodes the items' text."""
    return settings.embedding == "encoder" or bool(settings.encoder)


def _as_json(settings: IdentifierSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings.__slots__}
