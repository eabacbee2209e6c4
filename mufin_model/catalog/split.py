"""Validation items drawn from the training items."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from mufin_model.errors import SettingError

LEAST = 32
"""Validation items to hold out even where a label thereby loses its last training item: fewer tell nothing."""


def hold_out(links: csr_matrix, fraction: float, seed: int) -> np.ndarray:
    """Choose validation items, in a random order, sparing those that a label cannot do without.

    Args:
        links: training links [items, labels]; items without links are never chosen.
        fraction: of the linked items to hold out.
        seed: of the order.

    Returns:
        bool [items], True where held out. Each label keeps a training item, unless fewer than LEAST
        items could be held out so.

    Raises:
        SettingError: no training item would be left.
    """
    linked = np.flatnonzero(np.diff(links.indptr))
    target = round(fraction * len(linked))
    if fraction > 0 and len(linked) > 1:
        target = max(1, target)
    if target and target >= len(linked):
        raise SettingError(
            f"{fraction:g} of {len(linked):,} training items leave none to train on",
            where="ingest.validation_fraction",
            mend="lower it",
        )
    order = np.random.default_rng(seed).permutation(linked)
    held = np.zeros(links.shape[0], dtype=bool)
    left = np.bincount(links.indices, minlength=links.shape[1])
    count = 0
    for item in order:
        if count == target:
            return held
        labels = links.indices[links.indptr[item] : links.indptr[item + 1]]
        if left[labels].min() > 1:
            left[labels] -= 1
            held[item] = True
            count += 1
    if count < min(target, LEAST):
        others = order[~held[order]]
        held[others[: min(target, LEAST) - count]] = True
    return held
