"""Semantic ids: each item as a short sequence of codes, from coarse to fine.

I items, L levels, C codes a level.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.base import digest
from recbench.data import Catalogue, Ints, TrainingData
from recbench.errors import MissingError
from recbench.llm.items import embeddings
from recbench.llm.items.embeddings import has_text
from recbench.sequential.params import SASREC_VERSION
from recbench.settings import IdentifierSettings
from recbench.stages import StageCache

VERSION = 3
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
    `codes_per_level`, `reconstruction_error` (share of the vectors' variance)."""

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
    return "abcdefghijklmnop"[level]


def make_identifiers(
    catalogue: Catalogue,
    settings: IdentifierSettings,
    *,
    data: TrainingData | None = None,
    device: str = "cpu",
) -> Identifiers:
    """Make codes by `settings.source` and treat collisions by `settings.collisions`.

    Collaborative vectors need `data`.
    """
    source, embedding = choices(catalogue, settings)
    facts: dict[str, Any] = {"source": source}
    if source == "given":
        if catalogue.codes is None:
            raise _no_given_codes()
        codes = catalogue.codes
        limit = int(codes.max()) + 1
    else:
        vectors = item_vectors(catalogue, settings, embedding, data=data, device=device)
        codes, rebuilt = _coded(vectors, settings, source, device=device)
        limit = settings.codes
        facts |= {"embedding": embedding, "reconstruction_error": unexplained(vectors, rebuilt)}
    facts |= {
        "collision_rate": 1 - len(np.unique(codes, axis=0)) / len(codes),
        "codes_per_level": [len(np.unique(column)) for column in codes.T],
    }
    moved = 0
    if settings.collisions == "resolve":
        codes, moved = resolve_collisions(codes, num_codes=limit)
    return Identifiers(codes, count_collided(codes), moved, facts)


def choices(catalogue: Catalogue, settings: IdentifierSettings) -> tuple[str, str]:
    """Source and embedding with `auto` resolved; the embedding is "" for given codes."""
    text = has_text(catalogue)
    source: str = settings.source
    if source == "auto":
        source = "given" if not text and catalogue.codes is not None else "residual-kmeans"
    embedding: str = settings.embedding
    if embedding == "auto":
        embedding = "tfidf" if text else "collaborative"
    return source, "" if source == "given" else embedding


def item_vectors(
    catalogue: Catalogue,
    settings: IdentifierSettings,
    embedding: str,
    *,
    data: TrainingData | None,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """[I, D] the vectors that are quantised into codes."""
    if embedding == "tfidf":
        return embeddings.tfidf_svd(catalogue, dim=settings.dim, seed=DATA_SEED)
    if embedding == "encoder":
        return embeddings.encoded(catalogue, settings.encoder, device=device)
    if data is None:
        raise MissingError(
            "collaborative item vectors need the training interactions",
            why="these identifiers were requested with a catalogue alone",
            fix="shared_identifiers(..., data=data)",
        )
    if embedding == "sasrec":
        return embeddings.sasrec_vectors(data, seed=DATA_SEED, device=device)
    return embeddings.interaction_svd(
        data.sequences, num_items=len(catalogue), dim=settings.dim, seed=DATA_SEED
    )


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


def sum_of_means(vectors: NDArray[Any], codes: Ints) -> NDArray[np.float64]:
    """[I, D] the sum over levels of the mean residual, left by earlier levels, of items with that code."""
    rebuilt = np.zeros(vectors.shape)
    for column in codes.T:
        residual = vectors - rebuilt
        totals = np.zeros((int(column.max()) + 1, vectors.shape[1]))
        np.add.at(totals, column, residual)
        rebuilt += (totals / np.maximum(np.bincount(column), 1)[:, None])[column]
    return rebuilt


def unexplained(vectors: NDArray[Any], rebuilt: NDArray[Any]) -> float:
    """The reconstruction error: squared error as a share of the vectors' variance."""
    error = float(((vectors - rebuilt) ** 2).sum())
    return error / max(float(((vectors - vectors.mean(0)) ** 2).sum()), 1e-30)


def resolve_collisions(codes: Ints, *, num_codes: int) -> tuple[Ints, int]:
    """Give items with equal codes distinct last codes, lowest item first, lowest free code first.

    The first item of a group keeps its code. If a prefix has no free last code left, the rest of the group
    keeps sharing. Returns the codes and the number of moved items.
    """
    codes = codes.copy()
    taken: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for row in codes:
        taken[tuple(row[:-1])].add(int(row[-1]))
    seen: set[tuple[int, ...]] = set()
    moved = 0
    for row in codes:
        used = taken[tuple(row[:-1])]
        if tuple(row) in seen and len(used) < num_codes:
            row[-1] = next(code for code in range(num_codes) if code not in used)
            used.add(int(row[-1]))
            moved += 1
        seen.add(tuple(row))
    return codes, moved


def count_collided(codes: Ints) -> int:
    """Items that share all their codes with at least one other item."""
    _, counts = np.unique(codes, axis=0, return_counts=True)
    return int(counts[counts > 1].sum())


def shared_identifiers(
    catalogue: Catalogue,
    settings: IdentifierSettings,
    *,
    catalogue_digest: str,
    stages: StageCache,
    data: TrainingData | None = None,
    device: str = "cpu",
) -> Identifiers:
    """The identifiers of this catalogue, made once and shared by every fit of a block.

    The stage has `identifiers.npz`, and `identifiers.json` with each item's codes by its id.
    """
    spec: dict[str, Any] = {"catalogue": catalogue_digest, "version": VERSION, **_as_json(settings)}
    if settings.embedding == "encoder":
        spec["encoder"] = embeddings.encoder_digest(settings.encoder)  # by content: the folder may move
    if settings.embedding == "sasrec":
        spec["sasrec_version"] = SASREC_VERSION

    def build(folder: Path) -> None:
        identifiers = make_identifiers(catalogue, settings, data=data, device=device)
        identifiers.save(folder / "identifiers.npz")
        index = dict(zip(catalogue.item_ids, identifiers.tokens(), strict=True))
        record = {**identifiers.statistics, "index": index}
        (folder / "identifiers.json").write_text(json.dumps(record, indent=1), encoding="utf-8")

    return Identifiers.load(stages.get("identifiers", spec, build) / "identifiers.npz")


def _as_json(settings: IdentifierSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings.__slots__}
