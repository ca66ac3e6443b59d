"""How much a row varies with its seed, with what the other rows of its block lend.

R rows, S seeds, U users. Three seeds tell little of a variance, and the tail of many tests errs with it. So
each side of a comparison has the larger of its own variance and of its block's, pooled over the rows, with
the pooled degrees of freedom. No pretest decides between them: it would choose the smaller one just where
that is too small. What the rule errs is in docs/statistics.md.

All arrays may have leading axes, one entry a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recbench.data import Floats

LOSS = 3
"""Chosen by the simulation: with 2 a reference that varies more than all others breaks the bound of 3
seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedSpread:
    """What a seed does to the mean of a row, or of several rows that share their seeds."""

    num_rows: int = 1
    num_seeds: int
    between: Floats
    """Variance over seeds of the mean over the users asked; the users' part of it included."""
    interaction: Floats
    """Mean square of what the means of users and seeds leave over."""
    weight: float
    """In a pool: the degrees of freedom, were all rows independent and alike."""
    degrees: Floats | float
    """Degrees of freedom of `between`."""


@dataclass(frozen=True, slots=True)
class SidePart:
    """What the seeds of one side add to the variance of a difference."""

    variance: Floats
    before: Floats
    """The same with the users' part in it, which the degrees of freedom belong to."""
    degrees: Floats | float
    own: Floats
    """The side's own `before`."""
    own_degrees: Floats | float


def alone(seeds: Floats, interaction: Floats) -> SeedSpread | None:
    """Of a row by itself, from the means of its seeds [..., S]; None below two."""
    degrees = seeds.shape[-1] - 1
    if degrees < 1:
        return None
    between = seeds.var(-1, ddof=1)
    return SeedSpread(
        num_seeds=degrees + 1, between=between, interaction=interaction, weight=degrees, degrees=degrees
    )


def centred(rows: Sequence[Floats], interactions: Sequence[Floats]) -> list[SeedSpread]:
    """Of rows [..., S] that share their seeds, about what they have in common, as that cancels in a
    difference.

    `interactions` are those of the values less their mean over the rows. Both are scaled by R / (R - 1), so
    that half the variance of a difference remains of each side.
    """
    table = np.stack(rows, axis=-2)
    left = table - table.mean(-2, keepdims=True)
    size, num_seeds = table.shape[-2:]
    scale = size / (size - 1)
    return [
        SeedSpread(
            num_seeds=num_seeds,
            between=left[..., row, :].var(-1, ddof=1) * scale,
            interaction=interaction * scale,
            weight=(num_seeds - 1) / scale,
            degrees=(num_seeds - 1) / scale,
        )
        for row, interaction in enumerate(interactions)
    ]


def shared(rows: Sequence[Floats], interactions: Sequence[Floats], residual: SeedSpread) -> SeedSpread:
    """The mean spread of rows [..., S] that share their seeds; `residual` pools what they do not share.

    Rows that move together tell less than their number says: the mean is the variance of what they share plus
    1 - 1/R of the residual, which gives the degrees of freedom.
    """
    table = np.stack(rows, axis=-2)
    size, num_seeds = table.shape[-2:]
    common = table.mean(-2).var(-1, ddof=1)
    rest = residual.between * (1 - 1 / size)
    below = common**2 / (num_seeds - 1) + rest**2 / residual.degrees
    whole = size * (num_seeds - 1)
    return SeedSpread(
        num_rows=size,
        num_seeds=num_seeds,
        between=common + rest,
        interaction=np.stack(np.broadcast_arrays(*interactions), -1).mean(-1),
        weight=whole,
        degrees=ratio((common + rest) ** 2, below, otherwise=whole),
    )


def pooled(spreads: Sequence[SeedSpread]) -> SeedSpread:
    """The mean spread by weight.

    Where the spreads differ, its degrees of freedom are Satterthwaite's, freed of the chance with which few
    seeds differ: at least those of the least of them and at most their sum.
    """
    weights = np.array([one.weight for one in spreads])
    between, interaction, degrees = (
        np.stack(np.broadcast_arrays(*(np.asarray(getattr(one, name)) for one in spreads)), axis=-1)
        for name in ("between", "interaction", "degrees")
    )
    total, squares = between @ weights, ((between * weights) ** 2 / (degrees + 2)).sum(-1)
    whole = degrees.sum(-1)
    found = ratio(total**2, squares, otherwise=whole + 2) - 2
    return SeedSpread(
        num_rows=sum(one.num_rows for one in spreads),
        num_seeds=max(one.num_seeds for one in spreads),
        between=total / weights.sum(),
        interaction=interaction @ weights / weights.sum(),
        weight=float(weights.sum()),
        degrees=np.clip(found, degrees.min(-1), whole),
    )


def side(own: SeedSpread, pool: SeedSpread, num_users: int) -> SidePart:
    """The larger of a side's own part and its block's.

    The more a side's own spread exceeds the pool's, the less the pool tells of it: the degrees of freedom go
    from the pool's to its own with the third power of the ratio of both.
    """
    mine, lent = (_part(one, own.num_seeds, num_users) for one in (own, pool))
    larger = mine > lent
    share = np.where(larger, ratio(pool.between, own.between, otherwise=1.0), 1.0)
    least = np.minimum(own.degrees, pool.degrees)
    return SidePart(
        np.maximum(mine, lent),
        np.where(larger, own.between, pool.between) / own.num_seeds,
        least + (pool.degrees - least) * np.minimum(share, 1.0) ** LOSS,
        own.between / own.num_seeds,
        own.degrees,
    )


def _part(one: SeedSpread, num_seeds: int, num_users: int) -> Floats:
    """Variance of a mean over seeds, less what the users already put into it."""
    part: Floats = np.maximum((one.between - one.interaction / num_users) / num_seeds, 0.0)
    return part


def ratio(above: Floats, below: Floats, *, otherwise: Floats | float) -> Floats:
    """above / below, and `otherwise` where `below` is 0."""
    shape = np.broadcast_shapes(np.shape(above), np.shape(below))
    found = np.broadcast_to(np.asarray(otherwise, dtype=float), shape).copy()
    np.divide(above, below, out=found, where=np.asarray(below) > 0)
    return found
