"""A language model as a teacher: a list of items for each training target, and item vectors.

E training targets (a user's sequence gives one less than it has items; by user, then by position), K items of
a list, I items, D width of a vector.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbench.base import digest
from recbench.base.files import expanded
from recbench.data import Ints, Ragged, Requests, TrainingData
from recbench.errors import DataError, MissingError
from recbench.method import RunContext

LISTS = "lists.npz"


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """What a student learns from: lists of items, the teacher's confidence in them, and item vectors."""

    items: Ints  # [E, K] best first; -1 after the last, and in rows for which the teacher was not asked
    distances: NDArray[np.float32]  # [E, K] small is confident; infinite where items is -1
    vectors: NDArray[np.float32]  # [I, D]

    @property
    def digest(self) -> str:
        return digest.of_arrays({"items": self.items, "distances": self.distances, "vectors": self.vectors})

    def save(self, path: Path) -> None:
        np.savez(path, items=self.items, distances=self.distances, vectors=self.vectors)

    @classmethod
    def load(cls, name: str, data: TrainingData) -> Teacher:
        """Read a teacher file. Raises MissingError if there is none, DataError if it is not of this split."""
        path = expanded(name)
        if not path.is_file():
            raise MissingError(
                f"there is no teacher file '{name}'",
                fix="teacher=FILE, an npz with items and distances [E, K] and vectors [I, D]; without it "
                "the block's sft is the teacher",
            )
        with np.load(path, allow_pickle=False) as arrays:
            absent = {"items", "distances", "vectors"} - set(arrays)
            if absent:
                raise DataError(f"{path} has no array '{min(absent)}'")
            items, distances, vectors = arrays["items"], arrays["distances"], arrays["vectors"]
        if len(items) != data.num_targets or items.shape != distances.shape:
            raise DataError(
                f"{path} is no teacher of this split",
                why=f"lists {items.shape}, distances {distances.shape}, training targets {data.num_targets}",
            )
        in_catalogue = (items >= -1) & (items < data.num_items)
        if len(vectors) != data.num_items or not in_catalogue.all():
            raise DataError(f"{path} is no teacher of this split", why="its items are not this catalogue's")
        return cls(items.astype(np.int64), np.where(items < 0, np.inf, distances), vectors)


def ask_parent(data: TrainingData, run: RunContext, *, length: int, sample: int) -> Teacher:
    """Ask the parent for lists of `length` items, and for its text vectors of the items. A shared stage.

    The run's seed draws `sample` training targets (0: all). The parent reads the prompt with which it would
    rank for the target. Semantic ids: a beam as wide as the list; the distance is minus the log-probability.
    Titles: one title is written greedily, and items are ordered by the distance of their titles' vectors to
    it (BIGRec, the paper's teacher).
    """
    from recbench.llm.decoding.rank import rank
    from recbench.llm.decoding.text_space import text_space
    from recbench.llm.model.policy import restore
    from recbench.sequential.randomness import own_threads
    from recbench.settings import BeamRanker, GroundRanker

    parent = run.needed_parent
    asked = np.sort(run.rng("teacher").permutation(data.num_targets)[: sample or data.num_targets])
    ranker = BeamRanker(width=length) if parent.llm.paradigm == "semantic-id" else GroundRanker(width=1)
    answering = run.with_llm(replace(parent.llm, ranker=ranker))
    with own_threads(run.threads):
        policy = restore(data, answering, workdir=parent.workdir)
        space = text_space(policy, data, answering)

        def build(folder: Path) -> dict[str, int]:
            ranking = rank(policy, training_requests(data).take(asked), data=data, k=length, run=answering)
            assert ranking.scores is not None
            np.savez(folder / LISTS, items=ranking.items, distances=-ranking.scores)
            generated = ranking.stats.get("nodes_per_user", 0.0) * len(asked)
            generated = round(ranking.stats.get("generated_tokens", generated))
            read = round(ranking.stats["prompt_tokens_per_user"] * len(asked))
            return {"generated_tokens": generated, "forward_tokens": generated + read}

        spec = {"weights": parent.id, "asked": digest.of_arrays({"asked": asked}), "length": length}
        folder = run.stages.get("lists", spec, build)
    items = np.full((data.num_targets, length), -1, dtype=np.int64)
    distances = np.full(items.shape, np.inf, dtype=np.float32)
    with np.load(folder / LISTS, allow_pickle=False) as lists:
        items[asked] = lists["items"]
        distances[asked] = np.where(lists["items"] < 0, np.inf, lists["distances"])
    return Teacher(items, distances, np.asarray(space.vectors, dtype=np.float32))


def training_requests(data: TrainingData) -> Requests:
    """Every training target as a request: its user, and the protocol's window before it."""
    sequences = data.sequences
    num_targets = np.maximum(sequences.lengths - 1, 0)
    user = np.repeat(np.arange(len(sequences)), num_targets)
    start = sequences.offsets[user]
    position = np.arange(len(user)) - np.repeat(np.cumsum(num_targets) - num_targets, num_targets) + 1
    first = np.maximum(position - data.history, 0)
    return Requests(user=user, history=Ragged.spans(sequences.values, start + first, start + position))
