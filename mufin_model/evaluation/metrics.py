r"""Ranking metrics of extreme classification, in one compiled pass over the rows.

For an item with true labels y and its labels ranked by score (ties: the lower label row first), with
hit_j = [the label at rank j is true], j from 1, and inverse propensity w_l of label l:

    P@k      = 1/k sum_{j<=k} hit_j
    nDCG@k   = sum_{j<=k} hit_j / log2(j+1)  /  sum_{j<=min(k,|y|)} 1 / log2(j+1)
    R@k      = sum_{j<=k} hit_j / max(1, |y|)
    PSP@k    = sum over items of 1/k sum_{j<=k} hit_j w_j, divided by the same sum for the best ranking
    PSnDCG@k = sum over items of the nDCG@k with each hit weighted by w_j, divided likewise

P, nDCG and R are means over all items; an item without true labels stays in the mean with 0. PSP and PSnDCG
are ratios of sums, not means of ratios. All are fractions, 0 to 1, accumulated in float64.

Sources: the definitions are those of pyxclib (`xclib.evaluation.xc_metrics`) and of the Extreme Classification
Repository; the inverse propensity is `catalog.propensity`'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.sparse import csr_matrix

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

PER_K = ("P", "nDCG", "PSP", "PSnDCG")
"""Metrics computed at each of `ks`; recall has its own `recall_ks`."""

ABSENT = np.iinfo(np.int64).max
"""The rank of a label that was not retrieved: beyond every k, however few labels there are."""

BLOCK = 4096
"""Rows a thread takes at once: work enough to hide the scheduling."""


def without(matrix: csr_matrix, pairs: csr_matrix) -> csr_matrix:
    """`matrix` less the stored cells of `pairs` (the filter file), both [N, L]. Explicit zeros stay."""
    if pairs.nnz == 0:
        return matrix
    n_labels = matrix.shape[1]
    affected = np.diff(pairs.indptr) > 0
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    candidates = np.flatnonzero(affected[rows])
    pair_rows = np.repeat(np.arange(pairs.shape[0]), np.diff(pairs.indptr))
    keys = rows[candidates] * n_labels + matrix.indices[candidates]
    keep = np.ones(matrix.nnz, dtype=bool)
    keep[candidates[np.isin(keys, pair_rows * n_labels + pairs.indices)]] = False
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[keep], minlength=matrix.shape[0]))])
    return csr_matrix((matrix.data[keep], matrix.indices[keep], indptr), shape=matrix.shape)


@dataclass(frozen=True)
class RowMetrics:
    """Metrics before the mean.

    Attributes:
        names: M metrics, as `P@1`.
        values: [N, M] float64, each item's numerator.
        best: [N, M] what the best ranking would give; the denominator of PSP and PSnDCG, unused for the others.
    """

    names: tuple[str, ...]
    values: Floats
    best: Floats

    def column(self, name: str) -> Floats:
        """[N] one metric of each item."""
        return self.values[:, self.names.index(name)]

    def at(self, rows: npt.NDArray[np.bool_]) -> RowMetrics:
        """Those of some items: True where an item is among them, [N]."""
        return RowMetrics(self.names, self.values[rows], self.best[rows])

    def beside(self, other: RowMetrics) -> RowMetrics:
        """These and other metrics of the same items."""
        return RowMetrics(
            (*self.names, *other.names), np.hstack([self.values, other.values]), np.hstack([self.best, other.best])
        )

    def mean(self) -> dict[str, float]:
        """The metrics of the whole set; 0 throughout for a set without items."""
        n = max(1, len(self.values))
        totals, bests = self.values.sum(axis=0), self.best.sum(axis=0)
        return {
            name: float(total / (best if best > 0 else 1.0)) if name.startswith("PS") else float(total / n)
            for name, total, best in zip(self.names, totals, bests, strict=True)
        }


def row_metrics(
    scores: csr_matrix,
    truth: csr_matrix,
    inverse: npt.ArrayLike,
    ks: Sequence[int] = (1, 3, 5),
    recall_ks: Sequence[int] = (10, 100),
) -> RowMetrics:
    """Metrics of each item.

    Args:
        scores: CSR [N, L]; a stored cell is a retrieved label (whatever its sign), each label at most once a row, in
            any order. A NaN is never retrieved.
        truth: CSR [N, L]; a stored non-zero cell is a true link.
        inverse: [L] inverse propensities.
        ks: of P, nDCG, PSP and PSnDCG.
        recall_ks: of R.

    Raises:
        ValueError: the shapes disagree.
    """
    inverse = np.ascontiguousarray(inverse, dtype=np.float64)
    truth = _links(scores, truth)
    if inverse.shape != (scores.shape[1],):
        raise ValueError(f"inverse propensities have the shape {inverse.shape}, scores {scores.shape}")
    k_array, recall_array = np.array(ks, dtype=np.int64), np.array(recall_ks, dtype=np.int64)
    names = (*(f"{metric}@{k}" for k in ks for metric in PER_K), *(f"R@{k}" for k in recall_ks))
    gain = 1.0 / np.log2(np.arange(max(ks, default=0)) + 2.0)
    ideal = np.concatenate([[1.0], np.cumsum(gain)])  # [0]: no true label, and nothing to divide
    values = np.zeros((scores.shape[0], len(names)))
    best = np.zeros_like(values)
    _over_rows(
        _metrics_pass, len(values), scores.indptr, scores.indices, scores.data, truth.indptr, truth.indices,
        inverse, k_array, recall_array, gain, ideal, values, best,
    )  # fmt: skip
    return RowMetrics(names, values, best)


def evaluate_scores(
    scores: csr_matrix,
    truth: csr_matrix,
    inverse: npt.ArrayLike,
    ks: Sequence[int] = (1, 3, 5),
    recall_ks: Sequence[int] = (10, 100),
) -> dict[str, float]:
    """Metrics of a whole set, as `{"P@1": 0.41, "nDCG@5": ..., "PSP@1": ..., "R@10": ...}`; see `row_metrics`."""
    return row_metrics(scores, truth, inverse, ks, recall_ks).mean()


def true_ranks(scores: csr_matrix, truth: csr_matrix) -> tuple[Integers, Integers, Integers]:
    """Where each true link was ranked.

    Returns:
        rows, labels and ranks [nnz of truth], ranks from 0; ABSENT where the label was not retrieved.
    """
    truth = _links(scores, truth)
    ranks = np.empty(truth.nnz, dtype=np.int64)
    _over_rows(
        _ranks_pass, truth.shape[0], scores.indptr, scores.indices, scores.data,
        truth.indptr, truth.indices, ABSENT, ranks,
    )  # fmt: skip
    rows = np.repeat(np.arange(truth.shape[0], dtype=np.int64), np.diff(truth.indptr))
    return rows, truth.indices.astype(np.int64), ranks


def top_k(scores: csr_matrix, k: int) -> tuple[Integers, Floats]:
    """The k best-scored labels of each item, best first.

    Returns:
        labels int64 [N, k], -1 where fewer are stored, and their scores float64 [N, k], -inf there.
    """
    labels = np.full((scores.shape[0], k), -1, dtype=np.int64)
    values = np.full((scores.shape[0], k), -np.inf)
    _over_rows(_top_pass, len(labels), scores.indptr, scores.indices, scores.data, labels, values)
    return labels, values


def keep_top(scores: csr_matrix, k: int) -> csr_matrix:
    """`scores` with the k best of each row alone, labels ascending in a row."""
    labels, values = top_k(scores, k)
    rows, columns = np.nonzero(labels >= 0)
    kept = (values[rows, columns].astype(np.float32), (rows, labels[rows, columns]))
    return csr_matrix(kept, shape=scores.shape)


def _links(scores: csr_matrix, truth: csr_matrix) -> csr_matrix:
    """Truth in canonical form: no duplicates, no explicit zeros."""
    if scores.shape != truth.shape:
        raise ValueError(f"scores have the shape {scores.shape}, truth {truth.shape}")
    if truth.has_canonical_format and truth.data.all():
        return truth
    truth = truth.copy()
    truth.sum_duplicates()
    truth.eliminate_zeros()
    return truth


def _over_rows(one_pass: Callable[..., None], rows: int, *arguments: object) -> None:
    """Call a compiled pass on blocks of rows, a thread each.

    numba's own threads would be OpenMP's, whose number it sets for the whole process: torch would compute with as many
    from then on, and the sums of a training come out in another order.
    """
    starts = range(0, rows, BLOCK)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, max(1, len(starts)))) as pool:
        for _ in pool.map(lambda start: one_pass(start, min(rows, start + BLOCK), *arguments), starts):
            pass


@njit(nogil=True, cache=True)
def _rank(label, start, end, indices, data):  # type: ignore[no-untyped-def]
    """Rank of a label in one row of scores, or -1. Both loops have no branch out, so that they vectorise."""
    at = -1
    for j in range(start, end):
        at = max(at, j if indices[j] == label else -1)
    if at < 0 or np.isnan(data[at]):
        return -1
    score, ahead = data[at], 0
    for j in range(start, end):
        ahead += (data[j] > score) | ((data[j] == score) & (indices[j] < label))
    return ahead


@njit(nogil=True, cache=True)
def _insert(value, label, values, labels, filled):  # type: ignore[no-untyped-def]
    """Put (value, label) in its place among the best kept so far; how many are kept now."""
    k = len(values)
    if filled == k and not (value > values[k - 1] or (value == values[k - 1] and label < labels[k - 1])):
        return filled
    j = min(filled, k - 1)
    while j > 0 and (values[j - 1] < value or (values[j - 1] == value and labels[j - 1] > label)):
        values[j], labels[j] = values[j - 1], labels[j - 1]
        j -= 1
    values[j], labels[j] = value, label
    return min(filled + 1, k)


@njit(nogil=True, cache=True)
def _metrics_pass(  # type: ignore[no-untyped-def]
    start, stop, indptr, indices, data, true_indptr, true_indices, weights, ks, recall_ks, gain, ideal, values, best
):
    k_max = len(gain)
    top, top_labels = np.empty(k_max), np.empty(k_max, dtype=np.int64)
    for i in range(start, stop):
        n_true, filled = true_indptr[i + 1] - true_indptr[i], 0
        for t in range(true_indptr[i], true_indptr[i + 1]):
            label = true_indices[t]
            weight = weights[label]
            if k_max > 0:
                filled = _insert(weight, label, top, top_labels, filled)
            rank = _rank(label, indptr[i], indptr[i + 1], indices, data)
            if rank < 0:
                continue
            for c in range(len(ks)):
                if rank < ks[c]:
                    norm = ideal[min(ks[c], n_true)]
                    values[i, 4 * c] += 1.0 / ks[c]
                    values[i, 4 * c + 1] += gain[rank] / norm
                    values[i, 4 * c + 2] += weight / ks[c]
                    values[i, 4 * c + 3] += weight * gain[rank] / norm
            for c in range(len(recall_ks)):
                if rank < recall_ks[c]:
                    values[i, 4 * len(ks) + c] += 1.0 / n_true
        for c in range(len(ks)):
            norm = ideal[min(ks[c], n_true)]
            for j in range(min(ks[c], filled)):
                best[i, 4 * c + 2] += top[j] / ks[c]
                best[i, 4 * c + 3] += top[j] * gain[j] / norm


@njit(nogil=True, cache=True)
def _ranks_pass(  # type: ignore[no-untyped-def]
    start, stop, indptr, indices, data, true_indptr, true_indices, absent, ranks
):
    for i in range(start, stop):
        for t in range(true_indptr[i], true_indptr[i + 1]):
            rank = _rank(true_indices[t], indptr[i], indptr[i + 1], indices, data)
            ranks[t] = rank if rank >= 0 else absent


@njit(nogil=True, cache=True)
def _top_pass(start, stop, indptr, indices, data, labels, values):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        filled = 0
        for j in range(indptr[i], indptr[i + 1]):
            if not np.isnan(data[j]):
                filled = _insert(data[j], indices[j], values[i], labels[i], filled)
