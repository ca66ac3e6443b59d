"""The sides of a comparison by the names of runs and methods, and the comparison of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from recbench.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from recbench.base.root import Root
    from recbench.comparison.family import Family
    from recbench.comparison.sides import ScoredOn, Sides, Where
    from recbench.results.bundle import Bundle

Say = Callable[[str], None]


def named(root: Root, words: Sequence[str], where: Where, left_out: Say) -> tuple[Sides, dict[str, str]]:
    """The sides that words name, and the name of each: a run id is that run, a label all its finished seeds.

    Of a label only the runs of `where` count.
    """
    from recbench.comparison.sides import labelled, sides
    from recbench.results.lookup import find_run, is_run

    if len(set(words)) < len(words):
        raise UsageError("a method cannot be compared with itself", why=f"given: {', '.join(words)}")
    ids = {word for word in words if is_run(root.runs, word)}
    runs = [] if ids == set(words) else where.among(finished(root, left_out))
    return sides(
        {word: [find_run(root.runs, word)] if word in ids else labelled(word, runs) for word in words}
    )


def finished(root: Root, left_out: Say) -> list[Bundle]:
    """Every complete run of the root; one that has changed since it was sealed is reported to `left_out`."""
    from recbench.results.lookup import every_run

    return [run for run in every_run(root.runs, left_out) if run.status == "complete"]


def others(root: Root, compared: Sides, left_out: Say) -> list[Bundle]:
    """The finished runs that may lend their seeds; none where no side has several seeds to be judged."""
    several = any(len(runs) > 1 for sides in compared.values() for runs in sides.values())
    return finished(root, left_out) if several else []


def check_several(words: Sequence[str]) -> None:
    """UsageError unless there are two sides at least."""
    if len(words) < 2:
        first = words[0] if words else "A"
        raise UsageError(f"'{first}' is compared with nothing", fix=f"recbench compare {first} B")


def families(
    root: Root,
    words: Sequence[str],
    metric: str,
    *,
    where: Where,
    margin: float | None = None,
    reference: str | None = None,
    stratum: str = "all",
    left_out: Say,
) -> Mapping[ScoredOn, Family]:
    """For each data, the comparison of all that is named, or of each with `reference`.

    UsageError for a lone word and for a reference that is none of them. Where nothing can be compared, the
    first refusal.
    """
    from recbench.comparison.family import compare_all
    from recbench.comparison.sides import lenders

    check_several(words)
    groups, names = named(root, words, where, left_out)
    if reference is not None:
        reference = names.get(reference, reference)
        if reference not in names.values():
            raise unknown_name("method among those compared", reference, names.values())
    seeds_of_others = lenders(groups, others(root, groups, left_out))
    found = {
        data: compare_all(
            sides,
            metric,
            reference=reference,
            margin=margin,
            stratum=stratum,
            lenders=seeds_of_others[data],
        )
        for data, sides in groups.items()
    }
    refused = [pair for family in found.values() for pair in family.refused]
    if refused and not any(family.comparisons for family in found.values()):
        raise refused[0][2]
    return found
