"""Metrics in which a link counts by its weight, for catalogues whose links have one (what was sold, clicked, rated).

For an item with links of weight g_l and its labels ranked by score, gain_j = g of the label at rank j, or 0:

    wnDCG@k = sum_{j<=k} gain_j / log2(j+1)  /  the same sum for the best ranking     (Järvelin and Kekäläinen, 2002)
    wR@k    = sum_{j<=k} gain_j / the sum of all weights of the item

Means over all items; an item without links stays in the mean with 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

from mufin_model.evaluation.metrics import RowMetrics, true_ranks


def weighted_metrics(
    scores: csr_matrix, weights: csr_matrix, ks: Sequence[int], recall_ks: Sequence[int]
) -> RowMetrics:
    """Metrics of each item.

    Args:
        scores: CSR [N, L]; a stored cell is a retrieved label.
        weights: CSR [N, L], canonical; a stored cell is a true link, its value above zero.
        ks: of wnDCG; recall_ks: of wR.
    """
    n = weights.shape[0]
    rows, _, ranks = true_ranks(scores, weights)
    gains = weights.data.astype(np.float64)
    total = np.bincount(rows, gains, n)
    order = np.lexsort((-gains, rows))
    best = np.empty(len(order), np.int64)
    best[order] = np.arange(len(order)) - weights.indptr[rows[order]]  # rank of each link in the best ranking
    columns = []
    for k in ks:
        got, most = (np.bincount(rows, _discounted(gains, at, k), n) for at in (ranks, best))
        columns.append(got / np.where(most > 0, most, 1))
    columns += [np.bincount(rows, gains * (ranks < k), n) / np.where(total > 0, total, 1) for k in recall_ks]
    names = (*(f"wnDCG@{k}" for k in ks), *(f"wR@{k}" for k in recall_ks))
    values = np.stack(columns, axis=1) if columns else np.zeros((n, 0))
    return RowMetrics(names, values, np.zeros_like(values))


def _discounted(gains: np.ndarray, ranks: np.ndarray, k: int) -> np.ndarray:
    """Each link's part of DCG@k, at ranks from 0."""
    within = ranks < k
    return np.where(within, gains / np.log2(np.where(within, ranks, 0) + 2.0), 0.0)
