"""Validation items drawn from the training items."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from mufin_model.errors import SettingError


def hold_out(links: csr_matrix, fraction: float, seed: int) -> np.ndarray:
    """Choose validation items at random.

    Labels that thereby lose their last training item are not spared: test items have such labels too, and validation
    items without them are easier than the test's (by four points of P@1 on a small catalogue of products, by which
    the fusion trusted the wrong scores).

    Args:
        links: training links [items, labels]; items without links are never chosen.
        fraction: of the linked items to hold out.
        seed: of the choice.

    Returns:
        bool [items], True where held out.

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
    held = np.zeros(links.shape[0], dtype=bool)
    held[np.random.default_rng(seed).permutation(linked)[:target]] = True
    return held
