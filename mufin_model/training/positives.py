"""Which positive label of an item a batch trains on: one, drawn by weight and inverse propensity (ViXML)."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from mufin_model.catalog.propensity import inverse_propensity


class Positives:
    """Draws one positive label an item.

    Args:
        links: training links CSR [N, L], their values the weights of the links.
        balanced: rare labels more often, in proportion to their inverse propensity (of the formula's usual
            constants: `evaluate` may ask for others, which change the weights little).
    """

    def __init__(self, links: sparse.csr_matrix, balanced: bool) -> None:
        self.links, self.mass = links, None
        weights = links.data.astype(np.float64)
        if balanced:
            counts = np.bincount(links.indices, minlength=links.shape[1])
            weights *= inverse_propensity(counts, links.shape[0])[links.indices]
        if (weights != 1).any():
            # Mass of the links before each link: an item's share is an interval of it.
            self.mass = np.concatenate([[0.0], np.cumsum(weights)])

    def draw(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Labels [B] of item rows [B], each of which has one at least."""
        first, last = self.links.indptr[rows], self.links.indptr[rows + 1]
        chance = rng.random(len(rows))
        if self.mass is None:
            at = first + (chance * (last - first)).astype(np.int64)
        else:
            low, high = self.mass[first], self.mass[last]
            # Rounding may carry the largest chance past the item's last link.
            at = np.clip(np.searchsorted(self.mass, low + chance * (high - low), side="right") - 1, first, last - 1)
        drawn: np.ndarray = self.links.indices[at]
        return drawn
