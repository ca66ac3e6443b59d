"""Semantic ids: each item as a short sequence of codes, from coarse to fine.

I items, L levels, C codes a level.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbench import digest
from recbench.data import Catalogue, Ints
from recbench.settings import IdentifierSettings
from recbench.stages import StageCache

VERSION = 1
DATA_SEED = 0
"""Identifiers have one seed of their own, so that every seed of a run trains on the same ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Identifiers:
    codes: Ints  # [I, L]
    num_collided: int
    """Items that still share their codes with another item."""
    num_moved: int
    """Items whose last code was changed to tell them apart."""

    @property
    def digest(self) -> str:
        return digest.of_arrays({"codes": self.codes})

    def save(self, path: Path) -> None:
        np.savez(path, codes=self.codes, num_collided=self.num_collided, num_moved=self.num_moved)

    @classmethod
    def load(cls, path: Path) -> Identifiers:
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["codes"], int(arrays["num_collided"]), int(arrays["num_moved"]))

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


def make_identifiers(catalogue: Catalogue, settings: IdentifierSettings) -> Identifiers:
    """Residual k-means over text vectors; collisions by `settings.collisions`."""
    from recbench.llm.embeddings import tfidf_svd  # torch comes with it

    vectors = tfidf_svd(catalogue, dim=settings.dim, seed=DATA_SEED)
    codes = residual_kmeans(vectors, levels=settings.levels, codes=settings.codes, seed=DATA_SEED)
    moved = 0
    if settings.collisions == "resolve":
        codes, moved = resolve_collisions(codes, num_codes=settings.codes)
    return Identifiers(codes, count_collided(codes), moved)


def residual_kmeans(vectors: NDArray[np.float32], *, levels: int, codes: int, seed: int) -> Ints:
    """[I, L] codes: level l clusters what the centres of the levels before it left over."""
    from sklearn.cluster import KMeans

    residual = vectors.astype(np.float64)
    columns = []
    for level in range(levels):
        distinct = len(np.unique(residual.round(12), axis=0))
        kmeans = KMeans(min(codes, distinct), n_init=1, max_iter=50, random_state=seed + level).fit(residual)
        columns.append(kmeans.labels_.astype(np.int64))
        residual = residual - kmeans.cluster_centers_[kmeans.labels_]
    return np.stack(columns, axis=1)


def resolve_collisions(codes: Ints, *, num_codes: int) -> tuple[Ints, int]:
    """Give items with equal codes distinct last codes, lowest item first, lowest free code first.

    The first item of a group keeps its code. Where a prefix has no free last code left, the rest of the
    group goes on sharing. Returns the codes and the number of items that were moved.
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
    catalogue: Catalogue, settings: IdentifierSettings, *, catalogue_digest: str, stages: StageCache
) -> Identifiers:
    """The identifiers of this catalogue, made once and shared by every fit of a block."""
    spec = {"catalogue": catalogue_digest, "version": VERSION, **_as_json(settings)}

    def build(folder: Path) -> None:
        make_identifiers(catalogue, settings).save(folder / "identifiers.npz")

    return Identifiers.load(stages.get("identifiers", spec, build) / "identifiers.npz")


def _as_json(settings: IdentifierSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings.__slots__}
