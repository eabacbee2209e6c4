"""Hand-made picture features for the image baseline: colours, a grey thumbnail, directions of edges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from mufin_model.catalog.catalog import Catalog

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
    parts = [features(catalog.images.pixels(used[i : i + CHUNK])) for i in range(0, len(used), CHUNK)]
    if not parts:
        return np.zeros((len(offsets) - 1, 1), np.float32), np.zeros(len(offsets) - 1, bool)
    counts = np.diff(offsets)
    share = np.repeat(1.0 / np.maximum(counts, 1), counts).astype(np.float32)
    mean = csr_matrix((share, places, offsets), shape=(len(counts), len(used)))
    return mean @ np.concatenate(parts), counts > 0


def features(pixels: npt.NDArray[np.uint8]) -> Features:
    """Colour histogram (4x4x4), centred grey thumbnail (16x16) and edge directions (9 in each of 4x4 cells).

    Args:
        pixels: [n, 3, s, s] RGB.

    Returns:
        float32 [n, 64 + 256 + 144]; each of the three has unit length.
    """
    n, _, side, _ = pixels.shape
    code = (pixels >> 6).astype(np.int64)
    bins = (code[:, 0] * 16 + code[:, 1] * 4 + code[:, 2]).reshape(n, -1) + 64 * np.arange(n)[:, None]
    colour = np.sqrt(np.bincount(bins.ravel(), minlength=64 * n).reshape(n, 64))
    grey = (pixels.astype(np.float32) * np.array([0.299, 0.587, 0.114], np.float32)[:, None, None]).sum(axis=1) / 255
    small = _shrink(grey, 16).reshape(n, -1)
    small = small - small.mean(axis=1, keepdims=True)
    down, right = np.gradient(grey, axis=(1, 2)) if side > 1 else (np.zeros_like(grey), np.zeros_like(grey))
    strength = np.hypot(down, right)
    direction = np.minimum((np.arctan2(down, right) % np.pi) / np.pi * 9, 8).astype(np.int64)
    cell = np.arange(side) * 4 // side
    place = (cell[:, None] * 4 + cell)[None] * 9 + direction + 144 * np.arange(n)[:, None, None]
    edges = np.bincount(place.ravel(), weights=strength.ravel(), minlength=144 * n).reshape(n, 144)
    return np.concatenate([_unit(colour), _unit(small), _unit(np.sqrt(edges))], axis=1)


def _shrink(grey: Features, side: int) -> Features:
    """[n, s, s] to [n, side, side] by means of cells; a smaller picture is enlarged."""
    edges = np.arange(side) * grey.shape[1] // side
    if grey.shape[1] < side:
        return grey[:, edges][:, :, edges]
    sums = np.add.reduceat(np.add.reduceat(grey, edges, axis=1), edges, axis=2)
    sizes = np.diff(np.append(edges, grey.shape[1]))
    return sums / np.outer(sizes, sizes)


def _unit(values: npt.NDArray[np.floating]) -> Features:
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return (values / np.where(length > 0, length, 1)).astype(np.float32)
