"""Labels without training items (zero-shot): ranked by what their own descriptors say.

The score is the siamese cosine. Where text embeddings are of pretrained weights it is the mean of that cosine and
theirs: training bends the embedding towards the labels that it sees, and what frozen weights know of language is of
the others too (benchmarks/results.md).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from mufin_model.ranking import rounded
from mufin_model.retrieval.index import FLAT, VectorIndex


def rank(
    queries: np.ndarray, labels: np.ndarray, sentences: tuple[np.ndarray, np.ndarray] | None, top: int
) -> sparse.csr_matrix:
    """The best `top` zero-shot labels of each item, CSR [n, Z]; never all of them at once.

    Args:
        queries: item embeddings, unit rows [n, D].
        labels: those of the zero-shot labels, unit rows [Z, D].
        sentences: text embeddings of both, unit rows [n, d] and [Z, d]; zero where there is no text, and the siamese
            cosine then stands alone.
    """
    shape = len(queries), len(labels)
    if not len(labels):
        return sparse.csr_matrix(shape, dtype=np.float32)
    top = min(top, len(labels))
    found, columns = np.empty((len(queries), top), np.float32), np.empty((len(queries), top), np.int64)
    worded: np.ndarray = np.zeros(len(queries), dtype=bool)
    if sentences is not None:
        asked, known = sentences
        worded = np.asarray(asked.any(axis=1))
        # The mean of two inner products is one of the vectors joined.
        share = np.where(known.any(1, keepdims=True), np.float32(0.5), np.float32(1))
        joined = VectorIndex(np.concatenate([labels * share, known * np.float32(0.5)], axis=1), FLAT)
        found[worded], columns[worded] = joined.search(np.concatenate([queries, asked], axis=1)[worded], top)
    if not worded.all():
        found[~worded], columns[~worded] = VectorIndex(labels, FLAT).search(queries[~worded], top)
    rows = np.repeat(np.arange(len(queries)), top)
    return sparse.csr_matrix((rounded(found.ravel()), (rows, columns.ravel())), shape=shape)
