"""How well scores rank what is true, for choices made on held-out items. (Reports use `evaluation.metrics`.)"""

from __future__ import annotations

import numpy as np


def ndcg(scores: np.ndarray, real: np.ndarray, positive: np.ndarray, totals: np.ndarray, k: int = 5) -> np.ndarray:
    """nDCG@k of each item, [n].

    Args:
        scores: [n, S].
        real: False where padded, [n, S].
        positive: True where relevant, [n, S].
        totals: relevant labels of each item, found or not, [n].
        k: places looked at.
    """
    k = min(k, scores.shape[1])
    scores = np.where(real, scores, -np.inf)
    best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable"), 1)
    discount = 1 / np.log2(np.arange(2, k + 2))
    gain = (np.take_along_axis(positive, best, 1) * discount).sum(1)
    return np.asarray(gain / np.cumsum(discount)[np.clip(totals, 1, k) - 1])
