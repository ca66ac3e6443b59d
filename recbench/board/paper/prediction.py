"""Where the mean of one more run would lie: a new seed, the same users."""

from __future__ import annotations

import math
from collections.abc import Sequence

from recbench.comparison.significance import LEVEL
from recbench.data import Floats


def new_seed(mean: float, drawn: Sequence[Floats], *, level: float = LEVEL) -> tuple[float, float] | None:
    """The prediction interval of a mean, or of a difference of means, at one more seed.

    `drawn` has the seed means [S] of each part that a new seed draws by itself: one for a mean and for a
    difference with joint seeds, two for a difference with independent ones, none where nothing is random.
    The variance of a part is that of its seed means times 1 + 1/S: of the new one, and of the mean that
    predicts it. Users are fixed, so nothing is taken off for their interaction with seeds. Degrees of freedom
    are Satterthwaite's. None where a part has one seed, which says nothing about the spread.
    """
    from scipy.special import stdtrit

    if any(len(seeds) < 2 for seeds in drawn):
        return None
    parts = [float(seeds.var(ddof=1)) * (1 + 1 / len(seeds)) for seeds in drawn]
    variance = sum(parts)
    if variance <= (1e-14 * mean) ** 2:  # the spread of equal numbers is not always computed as zero
        return mean, mean
    degrees = variance**2 / sum(part**2 / (len(seeds) - 1) for part, seeds in zip(parts, drawn, strict=True))
    half = float(stdtrit(degrees, 0.5 + level / 2)) * math.sqrt(variance)
    return mean - half, mean + half
