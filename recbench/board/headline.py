"""The answer of a table in a few words, made from the declared family of tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from recbench.base.words import plural
from recbench.board.model import PARENT, Board, BoardRow, Difference, Outcome, Table
from recbench.comparison.compare import CHECKPOINTS
from recbench.results.metrics import metric_name

MOST_NAMED = 3
MODEL = "language model"

Compared = Sequence[tuple[BoardRow, Difference]]


def headline(table: Table, board: Board) -> str:
    """What the declared tests found: methods against their parents, then against the reference.

    A difference stands with its 95 % interval; what is only counted has none. Nothing is said of pairs that
    are not declared.
    """
    if len(table.rows) == 1:
        return f"{table.rows[0].name} is alone: there is no method to compare it with."
    clauses = [*_against_parents(table, board), *_against_reference(table)]
    if not clauses:
        return "No two of these methods were declared to be compared."
    found = [difference for row in table.rows for difference in row.vs.values()]
    of_checkpoints = [difference.scope != "methods" for difference in found]
    note = ""
    if any(of_checkpoints):
        note = " One seed" if all(of_checkpoints) else f" {CHECKPOINTS} One seed"
        note += ": of these checkpoints only, nothing is said about other seeds."
    return _sentence(clauses) + note


def standing(table: Table, board: Board) -> str:
    """Who may be first, from all pairs; empty where no row has a rank."""
    placings = table.view(board.metric).rows
    methods = [place for place in placings if place.ranks and not place.of_checkpoint]
    kind = "method" if methods else "checkpoint"
    first = [
        table.title_of(row)
        for row, place in zip(table.rows, placings, strict=True)
        if place.ranks and place.ranks[0] == 1 and place.of_checkpoint == (not methods)
    ]
    ranked = methods or [place for place in placings if place.ranks]
    if len(ranked) < 2 or not first:
        return ""
    family = "Holm over all pairs" + ("" if board.pairs == "all" else ", exploratory")
    if len(first) == 1:
        return f"{first[0]} is the best of {len(ranked)} {kind}s ({family})."
    if len(first) == len(ranked):
        return f"Each of the {len(ranked)} {kind}s may be the best ({family})."
    return f"{_listed(first)} may be the best of {len(ranked)} {kind}s ({family})."


def _against_parents(table: Table, board: Board) -> list[str]:
    """A clause for each parent and outcome beyond noise; one for all where there is none."""
    compared = [(row, row.vs[PARENT]) for row in table.rows if PARENT in row.vs]
    if not compared:
        return []
    many_worse = len(_of(compared, "worse")) > 1 and bool(_of(compared, "better"))
    clauses = []
    for against in dict.fromkeys(difference.against for _, difference in compared):
        children = [(row, difference) for row, difference in compared if difference.against == against]
        parent = f"parent {table.rows[against].name}" + _where(table.rows[against], table)
        if better := _of(children, "better"):
            clauses.append(
                _differences(better, f"{'beats its' if len(better) == 1 else 'beat their'} {parent}")
            )
        if not many_worse and (worse := _of(children, "worse")):
            clauses.append(
                _differences(worse, f"{'loses to its' if len(worse) == 1 else 'lose to their'} {parent}")
            )
    if not clauses:
        return [_nothing_sure(compared, table, board)]
    if many_worse:
        clauses.append(f"{plural(len(_of(compared, 'worse')), 'method')} lose to their parent")
    ties = len(_of(compared, "tie"))
    verb = "is not told from its" if ties == 1 else "are not told from their"
    return [*clauses, f"{plural(ties, 'method')} {verb} parent"] if ties else clauses


def _nothing_sure(compared: Compared, table: Table, board: Board) -> str:
    """That no method differs from its parent beyond noise, and what would have been found."""
    names = {table.rows[difference.against].name for _, difference in compared}
    parent = f"parent {min(names)}" if len(names) == 1 else "parent"
    smallest = sorted(difference.smallest_difference for _, difference in compared)
    middle = smallest[len(smallest) // 2]
    return (
        f"no method{_mark(compared)} is told from its {parent} in {metric_name(board.metric)}, where a true "
        f"difference of about {middle:.4f} is found with {100 * board.power:.0f} % power"
    )


def _against_reference(table: Table) -> list[str]:
    """How many language models, and how many other methods, the reference stands before and behind."""
    clauses = []
    for name in table.references:
        if name == PARENT:
            continue
        compared = [
            (row, row.vs[name])
            for row in table.rows
            if name in row.vs and (PARENT not in row.vs or row.vs[PARENT].against != row.vs[name].against)
        ]
        models = [one for one in compared if one[0].block is not None]
        others = [one for one in compared if one[0].block is None]
        if models:
            clauses.append(_beyond(models, name, MODEL, table))
        if others:
            clauses.append(_beyond(others, name, "other method" if models else "method", table))
    return clauses


def _beyond(compared: Compared, reference: str, noun: str, table: Table) -> str:
    """Who is beyond the reference, and how many are behind it."""
    better, worse = _of(compared, "better"), _of(compared, "worse")
    behind = f", {len(worse)} {'is' if len(worse) == 1 else 'are'} behind it" if worse else ""
    if len(compared) == 1:
        row, difference = compared[0]
        if difference.verdict == "tie":
            return f"{table.title_of(row)}{_mark(compared)} is not told from {reference}"
        side = "beyond" if better else "behind"
        return _differences(compared, f"is {side} {reference}")
    if not better:
        if len(worse) == len(compared):
            return f"{_all(len(worse), noun)}{_mark(compared)} are behind {reference}"
        return f"no {noun}{_mark(compared)} is beyond {reference}{behind}"
    if len(better) == len(compared):
        return f"{_all(len(better), noun)}{_mark(compared)} are beyond {reference}"
    if len(better) <= MOST_NAMED:
        verb = "is" if len(better) == 1 else "are"
        names = _listed(table.title_of(row) for row, _ in better)
        return f"{names}{_mark(compared)} {verb} beyond {reference}{behind}"
    return f"{len(better)} of {plural(len(compared), noun)}{_mark(compared)} are beyond {reference}{behind}"


def _differences(found: Compared, verb: str) -> str:
    """`a beats its parent sft by +0.0039 [..]`; of many the first."""
    amounts = [
        f"{difference.difference:+.4f}{'' if difference.scope == 'methods' else CHECKPOINTS} "
        f"[{difference.low:+.4f}, {difference.high:+.4f}]"
        for _, difference in found
    ]
    if len(found) == 1:
        return f"{found[0][0].name} {verb} by {amounts[0]}"
    named = [f"{row.name} by {amount}" for (row, _), amount in zip(found, amounts, strict=True)]
    return f"{_listed(named)} {verb}"


def _where(row: BoardRow, table: Table) -> str:
    return f" in {row.block}" if row.block and len(table.blocks) > 1 else ""


def _of(compared: Compared, verdict: Outcome) -> Compared:
    return [one for one in compared if one[1].verdict == verdict]


def _mark(compared: Compared) -> str:
    return CHECKPOINTS if any(difference.scope != "methods" for _, difference in compared) else ""


def _all(number: int, noun: str) -> str:
    return f"both {noun}s" if number == 2 else f"all {plural(number, noun)}"


def _listed(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and 4 more`."""
    known = list(names)
    if len(known) > MOST_NAMED:
        known = [*known[: MOST_NAMED - 1], f"{len(known) - MOST_NAMED + 1} more"]
    return known[0] if len(known) == 1 else f"{', '.join(known[:-1])} and {known[-1]}"


def _sentence(clauses: Sequence[str]) -> str:
    """A name keeps its case, so only a clause of plain words begins with a capital."""
    joined = "; ".join(clauses)
    plain = joined.startswith(("no ", "all ", "both "))
    return (joined[0].upper() + joined[1:] if plain else joined) + "."
