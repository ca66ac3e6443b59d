"""What a family of pairwise tests says of all methods together: letters of groups, intervals of ranks.

Both follow from which pairs differ beyond noise, adjusted for the family, and from nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from string import ascii_lowercase

Pair = tuple[str, str]


def cliques(names: Sequence[str], differing: Collection[Pair]) -> list[list[str]]:
    """The largest sets of methods of which no two differ, each in the order of `names`.

    Insert and absorb (Piepho 2004): every pair that differs splits the sets that hold both, and sets that lie
    within another are dropped.
    """
    sets = [frozenset(names)]
    for one, other in differing:
        split = [
            part
            for held in sets
            for part in ((held - {one}, held - {other}) if {one, other} <= held else (held,))
        ]
        sets = [held for held in dict.fromkeys(split) if not any(held < larger for larger in split)]
    place = {name: position for position, name in enumerate(names)}
    return sorted(
        (sorted(held, key=place.__getitem__) for held in sets), key=lambda held: [place[n] for n in held]
    )


def letters(names: Sequence[str], differing: Collection[Pair]) -> dict[str, str]:
    """The letters of each method. `names` are best first; methods that share a letter do not differ."""
    found = dict.fromkeys(names, "")
    for number, clique in enumerate(cliques(names, differing)):
        for name in clique:
            found[name] += _mark(number)
    return found


def _mark(number: int) -> str:
    """a to z, then a1, b1, ..."""
    times, letter = divmod(number, len(ascii_lowercase))
    return ascii_lowercase[letter] + (str(times) if times else "")


def rank_intervals(names: Sequence[str], differing: Collection[Pair]) -> dict[str, tuple[int, int]]:
    """The ranks that each method may have: from 1 + those better beyond noise to all - those worse.

    `differing` holds (better, worse). Where it comes from a family with error rate α, all intervals together
    hold the true ranks with probability 1 - α (Mohamad, Goeman and van Zwet 2019).
    """
    return {
        name: (
            1 + sum(worse == name for _, worse in differing),
            len(names) - sum(better == name for better, _ in differing),
        )
        for name in names
    }
