"""The exposure measures of a board's runs: computed where the data are here, then kept by the board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from recbench.base import digest
from recbench.board.model import Board, Exposures, MeanWithLimits
from recbench.board.rows import sort_out
from recbench.dataset.split import PreparedSplit
from recbench.errors import DigestError, MissingError
from recbench.results.bundle import MANIFEST, Bundle
from recbench.results.exposure.of_run import exposure_in, exposure_of
from recbench.results.metrics import parse

SHOWN = ("dgu", "mgu", "dgu_pop", "mgu_pop", "div_ratio", "or_ratio", "seen")
"""Of the measures of `recbench score --exposure`, those that need no titles."""
TOLERANCE = 1e-7
"""Boards keep eight digits."""


def exposures(runs: Sequence[Bundle], metric: str, known: Board | None, *, cache: Path | None) -> Exposures:
    """Of each run that stands on a table, the measures at the metric's cutoff.

    Those that the board `known` has of this very run are taken from it, others are computed with the splits
    in `cache`; None computes nothing. A run whose split is not there, or whose lists are shorter, has none.
    """
    cutoff = parse(metric).cutoff
    before = {} if known is None else kept(known)
    records = {} if known is None else known.records
    found: dict[str, Mapping[str, MeanWithLimits]] = {}
    for run in (run for group in sort_out(runs)[0] for run in group):
        measured = before.get(run.id, {})
        same = records.get(run.id) == digest.of_file(run.path / MANIFEST)
        if same and any(name.endswith(f"@{cutoff}") for name in measured):
            found[run.id] = measured
        elif cache is not None:
            with suppress(MissingError, DigestError):
                found[run.id] = _shown(exposure_of(run, [cutoff], cache=cache, titles=False))
    return found


def kept(board: Board) -> Exposures:
    """What the board says of its runs."""
    rows = [row for table in board.tables for row in table.rows]
    return {run: measured for row in rows for run, measured in row.exposure.items()}


def problems(run: Bundle, recorded: Mapping[str, MeanWithLimits], prepared: PreparedSplit) -> list[str]:
    """How what a board records of a run differs from what its lists and the split give."""
    cutoffs = sorted({int(name.partition("@")[2]) for name in recorded})
    try:
        again = _shown(exposure_in(run, cutoffs, prepared, titles=False))
    except (MissingError, DigestError) as error:
        return [f"exposure: {error.what}"]
    return [
        f"exposure {name}: recorded is {_words(recorded.get(name))}, the lists give {_words(again.get(name))}"
        for name in sorted(recorded.keys() | again.keys())
        if not _close(recorded.get(name), again.get(name))
    ]


def _close(one: MeanWithLimits | None, other: MeanWithLimits | None) -> bool:
    if one is None or other is None:
        return False
    pairs = ((one.mean, other.mean), (one.low, other.low), (one.high, other.high))
    return all(abs(a - b) <= TOLERANCE * max(1.0, abs(a)) for a, b in pairs)


def _words(measured: MeanWithLimits | None) -> str:
    if measured is None:
        return "none"
    return f"{measured.mean:.6g} [{measured.low:.6g}, {measured.high:.6g}]"


def _shown(found: Mapping[str, Mapping[str, float]]) -> dict[str, MeanWithLimits]:
    return {name: MeanWithLimits(**one) for name, one in found.items() if name.partition("@")[0] in SHOWN}
