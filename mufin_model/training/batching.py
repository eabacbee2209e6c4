"""Mini-batches of like items, so that in-batch negatives are hard (NGAME, Dahiya et al., WSDM 2023).

Items are split by balanced 2-means on the embeddings seen in training, which costs no extra pass.
"""

from __future__ import annotations

import numpy as np


def balanced_clusters(vectors: np.ndarray, leaf: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows in clusters of at most `leaf`, all of a size within one of each other.

    Args:
        vectors: unit rows, [N, D].
        leaf: items in a cluster, at most.
        rng: of the starting centres.
    """
    depth = max(0, int(np.ceil(np.log2(max(1, len(vectors)) / leaf))))
    clusters = [np.arange(len(vectors))]
    for _ in range(depth):
        clusters = [half for rows in clusters for half in _halve(vectors, rows, rng)]
    return clusters


def _halve(vectors: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Balanced 2-means: sort by the difference of the two cosines, cut in the middle, move the centres."""
    if len(rows) < 2:
        return rows, rows[:0]
    x, middle = vectors[rows], len(rows) // 2
    centres = x[rng.choice(len(rows), 2, replace=False)]
    order = np.arange(len(rows))
    for _ in range(10):
        before = order
        order = np.argsort(x @ (centres[0] - centres[1]), kind="stable")
        if np.array_equal(order[:middle], before[:middle]):
            break
        centres = np.stack([x[order[middle:]].mean(0), x[order[:middle]].mean(0)])
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    return rows[order[:middle]], rows[order[middle:]]


def batches(order: np.ndarray, size: int) -> list[np.ndarray]:
    """Cut an order of rows into batches as equal as can be, of at most `size`, but of two rows at least."""
    count = max(1, min(-(-len(order) // size), len(order) // 2))
    return np.array_split(order, count) if len(order) else []


STEPS, SMALL = 8, 64
"""Steps that an epoch is to make, and the batch below which it makes fewer: a pass costs the same however it is cut."""


def batch_of(items: int, most: int) -> int:
    """Items in a batch: `most`, fewer where an epoch would make fewer than STEPS steps, but SMALL at least."""
    return min(most, max(SMALL, -(-items // STEPS)))
