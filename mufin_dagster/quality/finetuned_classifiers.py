"""Summary tables of finetuned_classifiers: weights, and the vector of each label's classifier."""

from __future__ import annotations

import numpy as np
import polars as pl

from mufin_dagster.quality import raw_descriptors
from mufin_dagster.quality.frames import Source, Table
from mufin_dagster.quality.vectors import blocks, curve, summary, vectors, weights
from mufin_model.arrays import read_array

NOUN = "finetuned_classifiers"
FILE = "classifiers.npy"


def arrays(source: Source) -> pl.DataFrame:
    """One row: file, expected and found (labels), variance and rank (of its vectors)."""
    told = summary(source, NOUN, FILE)
    return pl.DataFrame(
        {
            "file": [FILE],
            "expected": [_owners(source).height],
            "found": [len(told.norm)],
            "variance": [told.variance],
            "rank": [told.rank],
        }
    )


def label_vectors(source: Source) -> pl.DataFrame:
    """One row a seen label: row, id, norm, not_finite, twins (other labels of the very same vector)."""
    frame = vectors(summary(source, NOUN, FILE), _owners(source))
    keys = _fingerprints(read_array(source.folder(NOUN) / FILE, mmap=True))[: frame.height]
    _, place, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return frame.with_columns(pl.Series("twins", counts[place] - 1))


TABLES: dict[str, Table] = {
    "weights": lambda source: weights(source, NOUN),
    "curve": lambda source: curve(source, NOUN),
    "arrays": arrays,
    "label_vectors": label_vectors,
}


def _owners(source: Source) -> pl.DataFrame:
    return raw_descriptors.labels_of(source).filter(~pl.col("zero_shot")).select("id")


def _fingerprints(array: np.ndarray) -> np.ndarray:
    """64 bits for each row of an array float32 [n, d], equal for equal rows and, but by chance, for no others."""
    factors = np.random.default_rng(0).integers(1, 2**63, array.shape[1], dtype=np.uint64) | np.uint64(1)
    parts = [
        (np.ascontiguousarray(array[part], np.float32).view(np.uint32) * factors).sum(1, dtype=np.uint64)
        for part in blocks(array)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)
