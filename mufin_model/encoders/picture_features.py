"""Hand-made picture features of items, for the image baseline."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.vectors import given, unit_rows

Features = npt.NDArray[np.float32]

CHUNK = 1024
"""Images decoded at once."""


def item_features(catalog: Catalog) -> tuple[Features, npt.NDArray[np.bool_]]:
    """Features of every item: the mean over its images.

    Returns:
        float32 [items, F], and bool [items], True where the item has an image.
    """
    offsets, rows = catalog.item_images()
    used, places = np.unique(rows, return_inverse=True)
    vectors = given(catalog.folder)
    chunks = [used[i : i + CHUNK] for i in range(0, len(used), CHUNK)]
    parts = [features(catalog.images.pixels(c)) if vectors is None else unit_rows(vectors, c) for c in chunks]
    if not parts:
        return np.zeros((len(offsets) - 1, 1), np.float32), np.zeros(len(offsets) - 1, bool)
    counts = np.diff(offsets)
    share = np.repeat(1.0 / np.maximum(counts, 1), counts).astype(np.float32)
    mean = csr_matrix((share, places, offsets), shape=(len(counts), len(used)))
    return mean @ np.concatenate(parts), counts > 0


def features(pixels: npt.NDArray[np.uint8]) -> Features:
    """uint8 [n, 3, s, s] to float32 [n, F]; see `mufin_model.encoders.handmade`."""
    import torch

    from mufin_model.encoders.handmade import Handmade

    return Handmade()(torch.from_numpy(pixels)).numpy()
