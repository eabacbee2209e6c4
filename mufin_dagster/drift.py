"""How far a distribution has moved, by the population stability index (PSI).

PSI = sum over bins of (now - then) ln(now / then), shares of the rows in each bin. Credit scoring's rule of thumb:
below 0.1 stable, above 0.25 another population.
"""

from __future__ import annotations

import numpy as np

GROUPS = 10
"""Of things with equal shares, in `psi_of_frequencies`."""

PARTS, ROWS_A_PART = 6, 50
"""Equal parts of a population, fewer where it is small. Two samples of one population, n rows each, have a PSI of
2 (bins - 1) / n on average: of 300 rows 0.07, of more less."""


def terms(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Each bin's part of the index, [k]; their sum is the index.

    Args:
        before: shares [k], none of them zero; after: the same.
    """
    return (after - before) * np.log(after / before)


def stability(then: np.ndarray, now: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bins and the two shares.

    The bins cut either population into equal parts: of the earlier one alone they would be a single one where it was
    constant, and nothing could move.

    Args:
        then: earlier values, [n]; now: [m]; neither empty.

    Returns:
        Edges [k + 1], from the least to the largest value of both; shares of `then` [k] and of
        `now` [k], none of them zero.
    """
    k = int(np.clip(min(len(then), len(now)) // ROWS_A_PART, 2, PARTS))
    cuts = np.linspace(0, 1, k + 1)[1:-1]
    # A value that many rows share is an edge once.
    inner = np.unique([np.quantile(then, cuts), np.quantile(now, cuts)])
    both = np.concatenate([then, now])
    edges = np.concatenate([[both.min()], inner, [both.max()]])
    counts = [
        np.bincount(np.searchsorted(inner, values, side="left"), minlength=len(inner) + 1) for values in (then, now)
    ]
    return edges, _shares(counts[0]), _shares(counts[1])


def psi_of_values(then: np.ndarray, now: np.ndarray) -> float:
    """The index of two samples; 0 where one of them is empty."""
    if not len(then) or not len(now):
        return 0.0
    _, before, after = stability(then, now)
    return float(terms(before, after).sum())


def psi_of_frequencies(then: np.ndarray, now: np.ndarray) -> float:
    """The index of how often each of n things occurs, over ten groups of things with equal shares in `then`.

    Args:
        then: occurrences of each thing, int64 [n].
        now: the same, int64 [n]. Things that `then` has not are one more group.

    Returns:
        0 where the shares are equal, or where one of the two counts nothing.
    """
    if not then.sum() or not now.sum():
        return 0.0
    order = np.argsort(-then, kind="stable")
    share = np.cumsum(then[order]) / then.sum()
    group = np.where(then[order] > 0, np.minimum((share - 1e-12) * GROUPS, GROUPS - 1).astype(np.int64), GROUPS)
    counts = [np.bincount(group, weights=one[order], minlength=GROUPS + 1) for one in (then, now)]
    return float(terms(_shares(counts[0]), _shares(counts[1])).sum())


def _shares(counts: np.ndarray) -> np.ndarray:
    # half a row in an empty bin, whose logarithm would be infinite
    return np.maximum(counts, 0.5) / counts.sum()
