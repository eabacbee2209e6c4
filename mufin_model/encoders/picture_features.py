"""Hand-made picture features of items, for the image baseline and for the ridge component of the score."""

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


def item_means(catalog: Catalog, each: Features) -> Features:
    """The mean over each item's images of vectors of all images: float32 [images, F] to [items, F]."""
    offsets, rows = catalog.item_images()
    counts = np.diff(offsets)
    if not len(each):
        return np.zeros((len(counts), each.shape[1]), np.float32)
    share = np.repeat(1.0 / np.maximum(counts, 1), counts).astype(np.float32)
    return csr_matrix((share, rows, offsets), shape=(len(counts), len(each))) @ each


def item_ink(catalog: Catalog) -> Features:
    """How each item is drawn: the mean ink statistics of its images (`ink`) and their number, float32 [items, G].

    Columns of the statistics are standardised over the catalogue's images; rows without images are zero.
    """
    import torch

    from mufin_model.encoders.handmade import ink

    offsets, rows = catalog.item_images()
    counts = np.diff(offsets)
    if given(catalog.folder) is not None:
        return np.zeros((len(counts), 1), np.float32)  # vectors show nothing of how they were drawn
    used, places = np.unique(rows, return_inverse=True)
    parts = [ink(torch.from_numpy(catalog.images.pixels(used[i : i + CHUNK]))) for i in range(0, len(used), CHUNK)]
    if not parts:
        return np.zeros((len(counts), 1), np.float32)
    each = torch.cat(parts).numpy()
    each = (each - each.mean(0)) / (each.std(0) + 1e-6)
    share = np.repeat(1.0 / np.maximum(counts, 1), counts).astype(np.float32)
    mean = csr_matrix((share, places, offsets), shape=(len(counts), len(used))) @ each
    number = (counts[:, None] == np.arange(1, 5)) * 2.0
    return np.concatenate([mean, number], axis=1).astype(np.float32)


def features(pixels: npt.NDArray[np.uint8]) -> Features:
    """uint8 [n, 3, s, s] to float32 [n, F]; see `mufin_model.encoders.handmade`."""
    import torch

    from mufin_model.encoders.handmade import Handmade

    return Handmade()(torch.from_numpy(pixels)).numpy()
