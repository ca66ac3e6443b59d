"""Which rows of a table are compared, the family of tests that they make, and the notes beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from recbench.board.model import PARENT, Difference, Outcome, PairFamily, UserCounts
from recbench.board.rows import MethodRuns, in_blocks, labelled, parent_of, starts_differ
from recbench.comparison import compare, pair_estimates, significance
from recbench.comparison.compare import Comparison
from recbench.comparison.family import in_family
from recbench.comparison.significance import ALPHA


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDifferences:
    vs: Mapping[str, Mapping[str, Difference]]
    """By the key of a row and the name of its reference."""
    references: tuple[str, ...]
    """Their names: `parent`, the declared reference, and that with each block's name where rows of no block
    are compared with it in several."""
    num_tests: int
    notes: frozenset[str]


def differences_of(
    rows: Sequence[MethodRuns], metric: str, reference: str, pairs: PairFamily
) -> TableDifferences:
    """Compare every row with its parent and with the row labelled `reference`, where the table has them.

    That is the row of its own block; a row of no block is compared with that of every block.
    These comparisons are the family that Holm adjusts for; with `pairs="all"` it is all pairs of rows.
    """
    shown = [
        (row, name, other)
        for row in rows
        for name, other in (
            (PARENT, parent_of(row, rows)),
            (reference, labelled(reference, row, rows)),
            *in_blocks(reference, row, rows),
        )
        if other is not None
    ]
    sides = {(row, other) for row, _, other in shown}
    sides |= {(a, b) for a, b in combinations(rows, 2) if pairs == "all" and (b, a) not in sides}
    family = {frozenset(side) for side in sides}
    places = {row.key: place for place, row in enumerate(rows)}
    estimates = pair_estimates.estimates([row.runs for row in rows], metric) if sides else {}
    comparisons = {
        (a, b): compare.compare(
            a.runs,
            b.runs,
            metric,
            num_tests=len(family),
            estimate=estimates[places[a.key], places[b.key]],
        )
        for a, b in sorted(sides, key=lambda side: (side[0].key, side[1].key))
    }
    p_values = {frozenset(side): comparison.p for side, comparison in comparisons.items()}
    adjusted = dict(zip(p_values, significance.holm(list(p_values.values())), strict=True))
    vs: dict[str, dict[str, Difference]] = {row.key: {} for row in rows}
    for row, name, other in shown:
        p_holm = adjusted[frozenset((row, other))]
        vs[row.key][name] = _difference(
            in_family(comparisons[row, other], p_holm, len(family)),
            p_holm,
            against=rows.index(other),
            systems=starts_differ(row, other, rows) or row.external or other.external,
        )
    named = dict.fromkeys(name for _, name, _ in shown)
    return TableDifferences(
        vs=vs,
        references=(
            *(name for name in (PARENT, reference) if name in named),
            *sorted(named.keys() - {PARENT, reference}),
        ),
        num_tests=len(family),
        notes=frozenset(_test_notes(comparisons.values()) | _row_notes(rows, reference, vs)),
    )


def _difference(comparison: Comparison, p_holm: float, *, against: int, systems: bool) -> Difference:
    return Difference(
        against=against,
        reference=comparison.b,
        difference=comparison.difference,
        low=comparison.low,
        high=comparison.high,
        low_together=comparison.low_together,
        high_together=comparison.high_together,
        relative=comparison.relative,
        effect_size=comparison.effect_size,
        smallest_difference=comparison.smallest_difference,
        smallest_range=comparison.smallest_range,
        users=UserCounts(won=comparison.wins, tied=comparison.ties, lost=comparison.losses),
        p=comparison.p,
        p_holm=p_holm,
        verdict=_outcome(comparison.difference, p_holm),
        test=comparison.test,
        seed_rule=comparison.seed_rule,
        other_p=comparison.other_p,
        scope=comparison.scope,
        kind="difference between systems" if systems else comparison.kind,
    )


def _outcome(difference: float, p_holm: float) -> Outcome:
    if p_holm > ALPHA:
        return "tie"
    return "better" if difference > 0 else "worse"


def _test_notes(comparisons: Iterable[Comparison]) -> set[str]:
    """Without the seeds that a row lacks, which a table lists by itself."""
    return {note for comparison in comparisons for note in comparison.notes if compare.NO_RUN not in note}


def _row_notes(
    rows: Sequence[MethodRuns], reference: str, vs: Mapping[str, Mapping[str, Difference]]
) -> set[str]:
    """Comparisons that are missing and why, notes of imported rankings, marks, and starts that differ."""
    notes = set()
    made_here = [run for row in rows if not row.external for run in row.runs]
    silent = sum(run.manifest.method_code is None for run in made_here)
    if silent:
        notes.add(f"{silent} of {len(made_here)} runs do not say which code of their method made them")
    labels = {row.label for row in rows}
    for row in rows:
        if reference in labels - {row.label} and not vs[row.key].keys() - {PARENT}:
            notes.add(
                f"{row.name} is not compared with {reference}: several rows of other settings bear that label"
            )
        if row.parents and PARENT not in vs[row.key]:
            fits = ", ".join(sorted(row.parents))
            notes.add(f"{row.name} is not compared with its parent: no single row has fit {fits}")
        if row.external:
            notes.add(f"{row.name}: the ranking was made elsewhere, so nothing is known of its training")
            notes |= {f"{row.name}: {note}" for note in row.ranking_notes}
        if row.guard_marks:
            notes.add(f"{row.name}: marked by the guard of its workers: {'; '.join(sorted(row.guard_marks))}")
    for a, b in combinations(rows, 2):
        if a.block == b.block and starts_differ(a, b, rows):
            notes.add(f"difference between systems: {a.name} and {b.name} start from different parents")
    return notes
