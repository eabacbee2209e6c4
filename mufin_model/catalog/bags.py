"""Batches of bags: ragged lists of rows gathered into one padded index.

Legend: B bags in the batch, M rows in the largest of them.
"""

from __future__ import annotations

import numpy as np


def pad(
    offsets: np.ndarray,
    rows: np.ndarray,
    bags: np.ndarray,
    limit: int | None = None,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Gather bags into one padded index.

    Args:
        offsets: int64 [n + 1]; bag i holds rows[offsets[i]:offsets[i + 1]].
        rows: int64 [nnz].
        bags: int64 [B], the bags to gather; one may occur twice.
        limit: at most so many rows a bag: drawn without replacement by `rng`, or the first ones without it.
        rng: source of the draw.

    Returns:
        index int64 [B, M] and mask bool [B, M], True where real. M >= 1; index is 0 where the mask is False.
    """
    bags = np.asarray(bags, dtype=np.int64)
    start, size = offsets[bags], offsets[bags + 1] - offsets[bags]
    largest = int(size.max(initial=1))
    kept = largest if limit is None else min(largest, max(1, limit))
    mask = np.arange(kept) < size[:, None]
    if kept < largest and rng is not None:
        # Random keys, past the end never first: the smallest `kept` are a draw without replacement.
        key = rng.random((len(bags), largest), dtype=np.float32)
        key[np.arange(largest) >= size[:, None]] = 2.0
        place = np.argpartition(key, kept - 1, axis=1)[:, :kept]
        # Real rows first, and in the bag's own order, so that the mask above fits.
        place = np.sort(np.where(place < size[:, None], place, largest), axis=1)
    else:
        place = np.broadcast_to(np.arange(kept), mask.shape)
    index = np.zeros(mask.shape, dtype=np.int64)
    index[mask] = rows[(start[:, None] + place)[mask]]
    return index, mask
