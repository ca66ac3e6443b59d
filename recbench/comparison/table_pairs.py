"""Every pair of a table at once, for one metric over some of its users.

R rows, S seeds, U users. The estimate of a pair is the crossed-variance t of `significance.crossed_t` (the
paired t where both sides are one run) with the seed variance of `seed_variance`. It comes from moments that
all pairs share, so that a hundred views of fifty rows take seconds. Arrays may have leading axes, one entry a
table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbench.comparison import seed_variance
from recbench.comparison.seed_variance import SeedSpread, SidePart, ratio
from recbench.comparison.significance import FEWEST, LEVEL, need_two
from recbench.data import Floats

ROUNDING = 1e-12  # of a variance that is the difference of two; below this share of them it is none

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Layout:
    """Which rows lend each other what they know of seeds."""

    blocks: Sequence[int]
    """Of each row the number of its block."""
    families: Sequence[int | None]
    """Of each row the number of the parents that its seeds descend from, one by one; rows of one family have
    their seeds in common. None for a row whose seeds are its own."""


@dataclass(frozen=True, slots=True)
class Estimates:
    """Differences with their standard errors, degrees of freedom and two-sided p."""

    difference: Floats
    standard_error: Floats
    degrees: Floats
    p: Floats

    def half(self, level: float = LEVEL) -> Floats:
        """Half width of the interval."""
        from scipy.special import stdtrit

        half: Floats = stdtrit(self.degrees, 0.5 + level / 2) * self.standard_error
        return half


@dataclass(frozen=True, slots=True, kw_only=True)
class AllPairs(Estimates):
    """All pairs a < b of a table in the order of `itertools.combinations`: a - b."""

    joint: NDArray[np.bool_]
    """Whether the seeds of a pair are taken one by one."""
    lenders: Sequence[tuple[int, ...]]
    """Of each pair, the number of rows in each pool that its seed variance may come from."""


@dataclass(frozen=True, slots=True)
class Moments:
    """What the estimates of all pairs are made of."""

    seeds: Sequence[Floats]
    """The mean over users of each run, R arrays [..., S_r]."""
    covariance: Floats
    """[..., R, R] of the seed means of users."""
    num_users: int
    layout: Layout
    interactions: Sequence[Floats]
    """Mean squares that the means of user and seed leave over, of each row; 0 for one seed."""
    left: Mapping[int, Sequence[Floats]]
    """The same by family, of its rows' values less their mean over the family."""

    def together(self, a: int, b: int) -> bool:
        """Whether the seeds of two rows are taken one by one."""
        family = self.layout.families[a]
        several = min(self.seeds[row].shape[-1] for row in (a, b)) > 1
        return several and family is not None and family == self.layout.families[b]


Sides = list[tuple[SeedSpread, SeedSpread] | None]
"""Of each row its own spread and that of its pool; None for a row that no seed moves, or of one seed."""


def moments(values: Sequence[Floats], layout: Layout | None = None) -> Moments:
    """Of each row's values [S_r, U]; without a layout all rows are one block and seeds are their own.

    CheckError for fewer than two users.
    """
    layout = layout or Layout([0] * len(values), [None] * len(values))
    need_two("users", values[0].shape[-1])
    users = np.stack([side.mean(0) for side in values])
    left = {}
    for family, rows in families(layout, [len(side) for side in values]).items():
        common = sum(values[row] for row in rows) / len(rows)
        left[family] = [_interaction(values[row] - common) for row in rows]
    return Moments(
        seeds=[side.mean(1) for side in values],
        covariance=np.atleast_2d(np.cov(users)),
        num_users=users.shape[1],
        layout=layout,
        interactions=[_interaction(side) for side in values],
        left=left,
    )


def families(layout: Layout, num_seeds: Sequence[int]) -> dict[int, list[int]]:
    """The rows of each family that has two rows of two seeds or more."""
    found: dict[int, list[int]] = {}
    for row, family in enumerate(layout.families):
        if family is not None and num_seeds[row] > 1:
            found.setdefault(family, []).append(row)
    return {family: rows for family, rows in found.items() if len(rows) > 1}


def means(found: Moments) -> Estimates:
    """[..., R] the mean of each row, over users and seeds."""
    mean = _means(found)
    spread = np.diagonal(found.covariance, axis1=-2, axis2=-1)
    variance, below = _users_part(found, np.broadcast_to(spread, mean.shape))
    parts = _sides(found, _alone(found)[0])
    below = below + parts.before**2 / parts.degrees
    return _estimates(found, mean, variance + parts.variance, below)


def pairs(found: Moments) -> AllPairs:
    """Of every pair of rows. Seeds of one family are taken one by one, all others independently."""
    size = len(found.seeds)
    first, second = _pair_indices(size)
    spread = np.diagonal(found.covariance, axis1=-2, axis2=-1)
    mean = _means(found)
    total = spread[..., first] + spread[..., second]
    between = total - 2 * found.covariance[..., first, second]
    variance, below = _users_part(found, np.where(between > ROUNDING * total, between, 0.0))
    inside = families(found.layout, [seeds.shape[-1] for seeds in found.seeds])
    joint = np.array([found.together(a, b) for a, b in zip(first, second, strict=True)], dtype=bool)
    alone, centred = _alone(found), _centred(found, inside)
    by_themselves = _sum_of_sides(_sides(found, alone[0]), alone[1], first, second)
    together = _sum_of_sides(_sides(found, centred[0]), centred[1], first, second)
    seeds, before, degrees = (
        np.where(joint, one, other) for one, other in zip(together, by_themselves, strict=True)
    )
    lenders = [
        _lenders(centred if one else alone, a, b) for one, a, b in zip(joint, first, second, strict=True)
    ]
    difference = mean[..., first] - mean[..., second]
    estimates = _estimates(found, difference, variance + seeds, below + before**2 / degrees)
    return AllPairs(
        estimates.difference,
        estimates.standard_error,
        estimates.degrees,
        estimates.p,
        joint=joint,
        lenders=lenders,
    )


def seed_spreads(found: Moments) -> tuple[Sides, Sides]:
    """Of each row with its pool: by itself, and about what it shares with its family."""
    inside = families(found.layout, [seeds.shape[-1] for seeds in found.seeds])
    return _alone(found)[0], _centred(found, inside)[0]


def _alone(found: Moments) -> tuple[Sides, list[int]]:
    """Rows by themselves, with the pool of their block, and the number of the pool."""
    inside = families(found.layout, [seeds.shape[-1] for seeds in found.seeds])
    own = [
        seed_variance.alone(seeds, interaction)
        for seeds, interaction in zip(found.seeds, found.interactions, strict=True)
    ]
    centred: list[dict[int, SeedSpread]] = []
    pools = {}
    for family, rows in inside.items():
        spreads = seed_variance.centred([found.seeds[row] for row in rows], found.left[family])
        centred.append(dict(zip(rows, spreads, strict=True)))
    for block in set(found.layout.blocks):
        members = [row for row, where in enumerate(found.layout.blocks) if where == block]
        units: list[SeedSpread] = []
        grouped: set[int] = set()
        for family_spreads in centred:
            if len(rows := [row for row in members if row in family_spreads]) > 1:
                residual = seed_variance.pooled([family_spreads[row] for row in rows])
                units.append(
                    seed_variance.shared(
                        [found.seeds[row] for row in rows],
                        [found.interactions[row] for row in rows],
                        residual,
                    )
                )
                grouped |= set(rows)
        units += [one for row in members if row not in grouped and (one := own[row])]
        if units:
            pools[block] = seed_variance.pooled(units)
    blocks = list(found.layout.blocks)
    return [(one, pools[block]) if one else None for one, block in zip(own, blocks, strict=True)], blocks


def _centred(found: Moments, inside: Mapping[int, Sequence[int]]) -> tuple[Sides, list[int]]:
    """Rows about what their family shares, with the pool of the family's rows in their block."""
    sides: Sides = [None] * len(found.seeds)
    keys = [(block, family) for block, family in zip(found.layout.blocks, found.layout.families, strict=True)]
    for family, rows in inside.items():
        spreads = seed_variance.centred([found.seeds[row] for row in rows], found.left[family])
        for block in {found.layout.blocks[row] for row in rows}:
            here = [at for at, row in enumerate(rows) if found.layout.blocks[row] == block]
            pool = seed_variance.pooled([spreads[at] for at in here])
            for at in here:
                sides[rows[at]] = (spreads[at], pool)
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return sides, [numbers[key] for key in keys]


def _sides(found: Moments, sides: Sides) -> SidePart:
    """[..., R] the parts of all rows; 0 with one degree of freedom where no seed moves a row."""
    none = SidePart(np.zeros(()), np.zeros(()), 1.0, np.zeros(()), 1.0)
    parts = [seed_variance.side(*one, found.num_users) if one else none for one in sides]
    return SidePart(
        **{
            field.name: np.stack(
                np.broadcast_arrays(*(np.asarray(getattr(part, field.name)) for part in parts)), axis=-1
            )
            for field in fields(SidePart)
        }
    )


def _sum_of_sides(
    parts: SidePart, pools: Sequence[int], first: Indices, second: Indices
) -> tuple[Floats, Floats, Floats]:
    """Variance, variance with the users' part, degrees of freedom of two sides.

    Sides of two pools are independent; those of one pool move together, as both have its spread. Both have at
    least the degrees of freedom that their own seeds give.
    """
    pool, of, own_of = np.asarray(pools), np.asarray(parts.degrees), np.asarray(parts.own_degrees)
    a, b, own_a, own_b = (part[..., side] for part in (parts.before, parts.own) for side in (first, second))
    apart = ratio((a + b) ** 2, a**2 / of[..., first] + b**2 / of[..., second], otherwise=1.0)
    together = ratio(a + b, a / of[..., first] + b / of[..., second], otherwise=1.0)
    least = ratio(
        (own_a + own_b) ** 2, own_a**2 / own_of[..., first] + own_b**2 / own_of[..., second], otherwise=1.0
    )
    same = (pool[first] == pool[second]) & (a > 0) & (b > 0)
    return (
        parts.variance[..., first] + parts.variance[..., second],
        a + b,
        np.maximum(np.where(same, together, apart), least),
    )


def _lenders(sides: tuple[Sides, list[int]], a: int, b: int) -> tuple[int, ...]:
    pools = {sides[1][row]: side[1].num_rows for row in (a, b) if (side := sides[0][row])}
    return tuple(pools.values())


def _pair_indices(size: int) -> tuple[Indices, Indices]:
    indices = np.array(list(combinations(range(size), 2)), dtype=np.int64).reshape(-1, 2)
    return indices[:, 0], indices[:, 1]


def _means(found: Moments) -> Floats:
    return np.stack(np.broadcast_arrays(*(side.mean(-1) for side in found.seeds)), axis=-1)


def _users_part(found: Moments, variance: Floats) -> tuple[Floats, Floats]:
    part = variance / found.num_users
    return part, part**2 / (found.num_users - 1)


def _interaction(values: Floats) -> Any:
    """Mean square of what the means of seed and user leave over, of a table [S, U]; 0 for one seed.

    Not by BLAS: on a busy machine each short sum would wait long for all its threads.
    """
    num_seeds, num_users = values.shape
    if num_seeds < 2:
        return np.zeros(())
    left = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    return (left * left).sum() / ((num_seeds - 1) * (num_users - 1))


def _estimates(found: Moments, mean: Floats, variance: Floats, below: Floats) -> Estimates:
    from scipy.special import stdtr

    error = np.sqrt(variance)
    degrees = np.where(
        variance > 0, ratio(variance**2, below, otherwise=found.num_users - 1.0), found.num_users - 1.0
    )
    degrees = np.maximum(degrees, FEWEST)
    far = ratio(np.abs(mean), error, otherwise=np.inf)
    p = np.where((error > 0) | (mean != 0), 2 * stdtr(degrees, -far), 1.0)
    return Estimates(mean, error, degrees, p)
