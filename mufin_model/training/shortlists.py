"""Labels drawn for each item in a step of Module IV: hard positives and hard negatives of its mined shortlist.

Positives are drawn from all of an item's labels, those the shortlist missed too, less similar ones first;
negatives from the shortlist, more similar ones first, without its best few, which may be missing positives; an item
whose shortlist holds no other gets random labels. (The published code computes such probabilities and then ignores
them, and never trains a positive outside the shortlist.)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import sparse

from mufin_model.arrays import read_array
from mufin_model.catalog.links import contains
from mufin_model.config import Finetune

SHARPNESS = 0.2
"""Temperature, in cosine, of both draws."""


class ShortlistSampler:
    """Draws from mined shortlists.

    Args:
        links: training truth, [n_train, L], its values the weights of the links: heavier ones are drawn more often.
        mined: the artefact `mined_negatives`.
        settings: how many to draw.
    """

    def __init__(self, links: sparse.csr_matrix, mined: Path, settings: Finetune) -> None:
        self.links, self.settings = links, settings
        self.labels = read_array(mined / "labels.npy", mmap=True, shape=(links.shape[0], None))
        self.scores = read_array(mined / "scores.npy", mmap=True, shape=self.labels.shape)
        self.positive = read_array(mined / "positive.npy", mmap=True, shape=self.labels.shape)
        self.usable = np.flatnonzero(np.diff(links.indptr))
        """Training items with a label at all."""

    def draw(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels int64 [B, S], whether relevant [B, S] and whether real [B, S], S = positives + negatives."""
        labels, scores = self.labels[rows], self.scores[rows].astype(np.float32)
        relevant = np.asarray(self.positive[rows])
        positives, real_positives = self._positives(rows, labels, scores, relevant, rng)
        negatives, real_negatives = self._negatives(rows, labels, scores, relevant, rng)
        drawn = np.concatenate([positives, negatives], axis=1)
        positive = np.zeros(drawn.shape, bool)
        positive[:, : positives.shape[1]] = True
        return drawn, positive, np.concatenate([real_positives, real_negatives], axis=1)

    def _positives(
        self, rows: np.ndarray, labels: np.ndarray, scores: np.ndarray, relevant: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        counts = np.diff(self.links.indptr)[rows]
        place = np.arange(max(1, int(counts.max())))
        real = place < counts[:, None]
        at = np.where(real, self.links.indptr[rows][:, None] + place, 0)
        truth = np.where(real, self.links.indices[at], -1)
        # A positive that the shortlist missed is as hard as the least similar label on it.
        least = np.where(labels >= 0, scores, 1).min(1, keepdims=True)
        similarity = np.broadcast_to(least, truth.shape).copy()
        one, where = np.nonzero(relevant)
        width = self.links.shape[1]
        known = one.astype(np.int64) * width + labels[one, where]
        order = np.argsort(known)
        asked = np.arange(len(rows), dtype=np.int64)[:, None] * width + truth
        if len(known):
            found = np.searchsorted(known[order], asked).clip(max=len(known) - 1)
            hit = real & (known[order][found] == asked)
            similarity[hit] = scores[one, where][order][found[hit]]
        likely = SHARPNESS * np.log(np.where(real, self.links.data[at], 1))
        return _weighted(truth, likely - similarity, real, self.settings.positives, rng)

    def _negatives(
        self, rows: np.ndarray, labels: np.ndarray, scores: np.ndarray, relevant: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        real = ~relevant & (labels >= 0)
        real &= real.cumsum(1) > self.settings.drop_top_negatives
        drawn, kept = _weighted(labels, scores, real, self.settings.negatives, rng)
        without = np.flatnonzero(~kept.any(1))
        if len(without):
            # Positives alone would teach an item that every label is relevant.
            drawn[without] = rng.integers(self.links.shape[1], size=(len(without), drawn.shape[1]))
            kept[without] = ~contains(self.links[rows[without]], drawn[without])
        return drawn, kept


def _weighted(
    values: np.ndarray, score: np.ndarray, real: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` a row without replacement, chances as exp(score / SHARPNESS) (Gumbel top-k)."""
    key = np.where(real, score / SHARPNESS + rng.gumbel(size=score.shape), -np.inf)
    count = min(count, key.shape[1])
    best = np.argpartition(-key, count - 1, axis=1)[:, :count]
    kept = np.take_along_axis(real, best, axis=1)
    return np.where(kept, np.take_along_axis(values, best, axis=1), 0).astype(np.int64), kept
