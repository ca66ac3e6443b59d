"""What the shell offers for a word that was begun. Nothing here loads a method or a learning library.

A completion that fails offers nothing: an error in the middle of a command line helps nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recbench.base.root import Root


def methods(incomplete: str) -> list[str]:
    return _begun(incomplete, lambda root: _names("method", root))


def datasets(incomplete: str) -> list[str]:
    return _begun(incomplete, lambda root: _names("dataset", root))


def backbones(incomplete: str) -> list[str]:
    return _begun(incomplete, lambda root: _names("backbone", root))


def paradigms(incomplete: str) -> list[str]:
    return _begun(incomplete, lambda root: _names("paradigm", root))


def protocols(incomplete: str) -> list[str]:
    return _begun(incomplete, lambda root: _names("protocol", root))


def rankers(incomplete: str) -> list[str]:
    return _begun(incomplete, lambda root: _names("ranker", root))


def metrics(incomplete: str) -> list[str]:
    return _begun(incomplete, lambda _root: _with_cutoffs())


def outside_metrics(incomplete: str) -> list[str]:
    from recbench.base.extensions import points

    return _begun(incomplete, lambda _root: list(points.outside("metric")))


def settings(incomplete: str) -> list[str]:
    """Those of `--set`, up to the equals sign."""
    return _begun(incomplete, lambda root: [f"{name}=" for name in _names("setting", root) if "." in name])


def runs(incomplete: str) -> list[str]:
    return _begun(incomplete, lambda root: _names("run", root))


def runs_and_methods(incomplete: str) -> list[str]:
    return _begun(incomplete, lambda root: [*_names("method", root), *_names("run", root)])


def boards(incomplete: str) -> list[str]:
    return _begun(incomplete, _boards)


def runs_and_boards(incomplete: str) -> list[str]:
    return _begun(incomplete, lambda root: [*_names("run", root), *_boards(root)])


def jobs(incomplete: str) -> list[str]:
    """What was asked for here, finished or not."""

    def asked(root: Root) -> list[str]:
        from recbench.running.jobs import folder

        return sorted({path.stem for path in folder(root).glob("*.json")} | set(_names("run", root)))

    return _begun(incomplete, asked)


def lists(incomplete: str) -> list[str]:
    from recbench.reference.names import LISTS

    return _begun(incomplete, lambda _root: [*LISTS, "runs"])


def names(incomplete: str) -> list[str]:
    """All that can be shown."""
    from recbench.reference.names import KINDS

    return _begun(incomplete, lambda root: [name for kind in KINDS for name in _names(kind, root)])


def _names(kind: str, root: Root) -> Sequence[str]:
    from recbench.reference.names import KINDS

    return KINDS[kind](root)


def _boards(root: Root) -> list[str]:
    return sorted(path.name for path in (root.path / "leaderboards").glob("*") if path.is_dir())


def _with_cutoffs() -> list[str]:
    from recbench.protocol import CUTOFFS
    from recbench.results.metrics import GAINS

    return [f"{name}@{cutoff}" for name in GAINS for cutoff in CUTOFFS]


def _begun(incomplete: str, known: Callable[[Root], Sequence[str]]) -> list[str]:
    from recbench.base.root import discover

    try:
        return list(dict.fromkeys(name for name in known(discover()) if name.startswith(incomplete)))
    except Exception:  # a shell that completes shows no error
        return []
