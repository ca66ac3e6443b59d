"""The splits that runs were ranked on, made again from the raw files, each once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from recbench.base.root import Root
from recbench.dataset import card, prepare, split
from recbench.dataset.split import PreparedSplit
from recbench.errors import RecbenchError
from recbench.protocol import get_protocol
from recbench.results.bundle import Bundle

DATA_SEED = 0


@dataclass(frozen=True, slots=True)
class Again:
    """A split to check a run with."""

    split: PreparedSplit | None
    """None where neither the raw files nor a prepared split are here."""
    from_raw: bool
    why: str = ""
    """Why it was not made from the raw files."""


@dataclass(frozen=True, slots=True)
class Splits:
    root: Root
    folder: Path
    """Where splits are made; it may be removed afterwards."""
    known: dict[str, Again] = field(default_factory=dict)

    def of(self, run: Bundle) -> Again:
        """The split of a run from its raw files; else the one in the cache, with the reason."""
        digest = run.spec.fit.split
        if digest not in self.known:
            self.known[digest] = self._make(run)
        return self.known[digest]

    def _make(self, run: Bundle) -> Again:
        fit, cached = run.spec.fit, self._cached(run)
        try:
            made = prepare.make_again(
                card.find(fit.dataset, self.root.path),
                get_protocol(run.spec.protocol["name"]),
                into=self.folder / f"split-{len(self.known)}",
                cache=self.root.cache,
                data_dir=self.root.data_dir,
                limit_users=fit.limit_users,
                data_seed=DATA_SEED if cached is None else cached.data_seed,
            )
        except RecbenchError as error:
            return Again(cached, from_raw=False, why=error.what)
        return Again(made, from_raw=True)

    def _cached(self, run: Bundle) -> PreparedSplit | None:
        """The prepared split that records the run's digest."""
        return split.find_split(self.root.cache, run.spec.fit.split)

    def cached_problems(self, run: Bundle) -> list[str]:
        """How the prepared split in the cache, which the run read, differs from the one made again."""
        again, cached = self.of(run), self._cached(run)
        if cached is None or again.split is None or not again.from_raw:
            return []
        return [
            f"target digest: {cached.folder / name} is not what the raw files give"
            if name == split.TARGET_FILES[run.spec.phase]
            else f"split: {cached.folder / name} is not what the raw files give"
            for name in again.split.files
            if not _same(cached.folder / name, again.split.folder / name)
        ]


def _same(path: Path, other: Path) -> bool:
    """Whether two files of a split have the same content, however they were compressed."""
    from recbench.base import digest
    from recbench.results.bundle import read_arrays

    try:
        if path.suffix == ".npz":
            return digest.of_arrays(read_arrays(path)) == digest.of_arrays(read_arrays(other))
        return path.read_bytes() == other.read_bytes()
    except (OSError, ValueError):
        return False
