"""Labels without training items (zero-shot): ranked by what their own descriptors say.

The score is the siamese cosine. Where text embeddings are of pretrained weights it is the mean of that cosine and
theirs: training bends the embedding towards the labels that it sees, and what frozen weights know of language is of
the others too (benchmarks/results.md).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

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
    found, columns = VectorIndex(labels, FLAT).search(queries, top)
    if sentences is not None:
        asked, known = sentences
        # The mean of two inner products is one of the vectors joined.
        joined = np.concatenate([labels * np.where(known.any(1, keepdims=True), 0.5, 1), known * 0.5], axis=1)
        worded = asked.any(1)
        both = np.concatenate([queries[worded], asked[worded]], axis=1)
        found[worded], columns[worded] = VectorIndex(joined.astype(np.float32), FLAT).search(both, top)
    rows = np.repeat(np.arange(shape[0]), columns.shape[1])
    return sparse.csr_matrix((found.ravel(), (rows, columns.ravel())), shape=shape)
