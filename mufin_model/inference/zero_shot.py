"""Labels without training items (zero-shot): ranked by what their own descriptors say.

The score is the siamese cosine. Where text embeddings are of pretrained weights it is the mean of that cosine and
theirs: training bends the embedding towards the labels that it sees, and what frozen weights know of language is of
the others too (benchmarks/results.md).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import sparse

from mufin_model.arrays import read_array
from mufin_model.artefacts import read_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.retrieval.index import FLAT, VectorIndex


def rank(
    queries: np.ndarray, labels: np.ndarray, sentences: tuple[np.ndarray, np.ndarray] | None, top: int
) -> sparse.csr_matrix:
    """The best `top` zero-shot labels of each item, CSR [n, Z]; never all of them at once.

    Args:
        queries: item embeddings, unit rows [n, D].
        labels: those of the zero-shot labels, unit rows [Z, D].
        sentences: text embeddings of both, unit rows [n, d] and [Z, d], zero where there is no text.
    """
    shape = len(queries), len(labels)
    if not len(labels):
        return sparse.csr_matrix(shape, dtype=np.float32)
    if sentences is not None:
        # The mean of two inner products is one of the vectors joined.
        queries, labels = (
            np.concatenate([own, text], axis=1) / np.sqrt(2, dtype=np.float32)
            for own, text in zip((queries, labels), sentences, strict=True)
        )
    found, columns = VectorIndex(labels, FLAT).search(queries, top)
    rows = np.repeat(np.arange(shape[0]), columns.shape[1])
    return sparse.csr_matrix((found.ravel(), (rows, columns.ravel())), shape=shape)


def sentences(catalog: Catalog, encoded: Path, items: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Text embeddings of items [n] and of all zero-shot labels, where they are of pretrained weights, else None.

    Args:
        encoded: the artefact `encoder_embeddings`.
    """
    if read_json(encoded / "meta.json")["random_weights"]["text"]:
        return None
    vectors = read_array(encoded / "text.npy", shape=(catalog.items.height + catalog.n_labels, None))
    return vectors[items], vectors[catalog.items.height + catalog.n_seen :]
