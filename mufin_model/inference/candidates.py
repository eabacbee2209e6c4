"""The labels worth scoring for each item: those its embedding is near to, and those of its nearest neighbours."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from mufin_model.ranking import rounded

NEIGHBOUR_TEMPERATURE = 0.05
"""Of the softmax over neighbours, in cosine (ViXML, retrieval-augmented inference)."""


def neighbour_scores(similarity: np.ndarray, rows: np.ndarray, links: sparse.csr_matrix) -> sparse.csr_matrix:
    """Labels of each item's nearest labelled items, each weighted by a softmax of its similarity.

    Args:
        similarity: cosines [n, K]; rows: of the labelled items [n, K], -1 where fewer were found.
        links: their labels, [n_memory, L].

    Returns:
        CSR [n, L]; rows of mass at most the neighbours' mean number of labels.
    """
    real = rows >= 0
    logits = np.where(real, similarity / NEIGHBOUR_TEMPERATURE, -np.inf)
    weight = np.exp(logits - logits.max(1, keepdims=True))
    weight = np.where(real, weight / weight.sum(1, keepdims=True), 0).astype(np.float32)
    n, k = rows.shape
    offsets = np.arange(0, n * k + 1, k)
    nearest = sparse.csr_matrix((weight.ravel(), rows.clip(min=0).ravel(), offsets), shape=(n, links.shape[0]))
    return (nearest @ links).tocsr()


def top_of_rows(scores: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    """Each row's k best entries, all of them where it has fewer; of equal ones the lower column."""
    rows = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr))
    order = np.lexsort((scores.indices, -rounded(scores.data), rows))
    rank = np.arange(len(order)) - scores.indptr[rows[order]]
    keep = order[rank < k]
    return sparse.csr_matrix((scores.data[keep], (rows[keep], scores.indices[keep])), shape=scores.shape)


def join(shortlist: np.ndarray, neighbours: sparse.csr_matrix) -> np.ndarray:
    """The distinct labels of both, int64 [n, S'], -1 where padded.

    Args:
        shortlist: labels [n, S], -1 where padded.
        neighbours: CSR [n, L].
    """
    n, width = neighbours.shape
    one, place = np.nonzero(shortlist >= 0)
    rows = np.concatenate([one, np.repeat(np.arange(n), np.diff(neighbours.indptr))]).astype(np.int64)
    labels = np.concatenate([shortlist[one, place], neighbours.indices]).astype(np.int64)
    pairs = np.unique(rows * width + labels)
    rows, labels = pairs // width, pairs % width
    starts = np.searchsorted(rows, np.arange(n + 1))
    out = np.full((n, int(np.diff(starts).max(initial=1))), -1, np.int64)
    out[rows, np.arange(len(rows)) - starts[rows]] = labels
    return out
