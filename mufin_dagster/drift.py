"""How far a distribution has moved, by the population stability index (PSI).

PSI = sum over bins of (now - then) ln(now / then), of the two shares. Credit scoring's rule of thumb: below 0.1
stable, above 0.25 another population.
"""

from __future__ import annotations

import numpy as np

BINS = 10


def psi(then: np.ndarray, now: np.ndarray) -> float:
    """The index of two histograms over the same bins.

    Args:
        then: counts [bins].
        now: counts [bins].

    Returns:
        0 where the shares are equal, or where one of the two counts nothing.
    """
    if not then.sum() or not now.sum():
        return 0.0
    # half a row in an empty bin, whose logarithm would be infinite
    before, after = (np.maximum(counts, 0.5) / counts.sum() for counts in (then, now))
    return float(((after - before) * np.log(after / before)).sum())


def psi_of_values(then: np.ndarray, now: np.ndarray) -> float:
    """The index of two samples, over bins that cut `then` into ten equal parts."""
    if not len(then) or not len(now):
        return 0.0
    edges = np.unique(np.quantile(then, np.linspace(0, 1, BINS + 1)[1:-1]))
    counts = [np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) for values in (then, now)]
    return psi(counts[0], counts[1])


def psi_of_frequencies(then: np.ndarray, now: np.ndarray) -> float:
    """The index of how often each of n things occurs, over ten groups of things with equal shares in `then`.

    Args:
        then: occurrences of each thing, int64 [n].
        now: the same, int64 [n]. Things that `then` has not are one more group.
    """
    order = np.argsort(-then, kind="stable")
    share = np.cumsum(then[order]) / max(1, then.sum())
    group = np.where(then[order] > 0, np.minimum((share - 1e-12) * BINS, BINS - 1).astype(np.int64), BINS)
    return psi(
        np.bincount(group, weights=then[order], minlength=BINS + 1),
        np.bincount(group, weights=now[order], minlength=BINS + 1),
    )
