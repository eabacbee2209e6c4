"""How much a small sample can tell.

A warning about three labels and five links is noise. A rule that tolerates a share is broken only where that many
offending rows, or more, are unlikely to come from the tolerated share by chance. In a large sample this is the share
itself.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc, betaincinv, chdtri

UNLIKELY = 0.1
"""A chance below which something is taken as more than chance."""


def unlikely(offending: int, asked: int, tolerated: float) -> bool:
    """Whether so many of the rows asked, or more, are unlikely to offend where a share `tolerated` does.

    The binomial distribution's upper tail.
    """
    return not offending or bool(bdtrc(offending - 1, asked, tolerated) <= UNLIKELY)


def at_least(counts: npt.ArrayLike, asked: int) -> npt.NDArray[np.float64]:
    """The share that is surely there where `counts` [n] of `asked` were seen, [n]: Clopper's and Pearson's bound."""
    counts = np.asarray(counts, np.float64)
    bound = betaincinv(np.maximum(counts, 1), asked - np.minimum(counts, asked) + 1, UNLIKELY)
    return np.where(counts > 0, bound, 0.0)


def beyond_chance(one: int, n: int, other: int, m: int) -> float:
    """How far the shares one of n and other of m are surely apart; 0 where chance may do it."""
    low = at_least([one], n)[0], at_least([other], m)[0]
    high = 1 - at_least([n - one], n)[0], 1 - at_least([m - other], m)[0]
    return max(0.0, float(low[0] - high[1]), float(low[1] - high[0]))


def stability_by_chance(n: int, m: int, bins: int) -> float:
    """The population stability index that two samples of one population, n and m rows, reach by chance.

    The index times n m / (n + m) is distributed as chi-squared with bins - 1 degrees of freedom.
    """
    return float(chdtri(max(1, bins - 1), UNLIKELY)) * (1 / n + 1 / m)
