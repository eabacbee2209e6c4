"""Which epoch is kept, and when training stops: functions of the curve alone, so that a resumed run decides alike.

The judge is nDCG@5 of the validation items. P@1 of a hundred items moves in steps of a point; nDCG@5 looks at five
labels of each, and so tells epochs apart sooner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.links import contains
from mufin_model.evaluation.metrics import without
from mufin_model.ranking import ndcg

Curve = list[dict[str, float]]
"""One row an epoch: epoch, loss, val_p1, val_ndcg5."""

JUDGE = "val_ndcg5"

FEWEST = 50
"""Validation items with a true label, below which no epoch is told from another: the standard error of the mean of 50
items is five points."""

MOST = 2000
"""Validation items looked at after each epoch, at most."""

DEPTH = 5


@dataclass(frozen=True)
class Validation:
    """Validation items and what is true of them; filter pairs count neither as true nor as found.

    Attributes:
        rows: V item rows, at most MOST, spread over all validation items.
        truth: CSR [V, L]; removed: their filter pairs, CSR [V, L].
    """

    rows: np.ndarray
    truth: csr_matrix
    removed: csr_matrix

    @classmethod
    def of(cls, catalog: Catalog) -> Validation:
        """Those of a catalogue."""
        rows = catalog.rows("val")
        some = np.linspace(0, len(rows) - 1, min(len(rows), MOST)).astype(np.int64)
        removed = catalog.filters("val")[some]
        return cls(rows[some], without(catalog.links("val")[some], removed), removed)

    @property
    def judged(self) -> int:
        """Items that have a true label."""
        return int((np.diff(self.truth.indptr) > 0).sum())

    @property
    def depth(self) -> int:
        """Labels to rank for each item, so that DEPTH are left without its filter pairs."""
        return DEPTH + int(np.diff(self.removed.indptr).max(initial=0))

    def __call__(self, labels: np.ndarray, scores: np.ndarray | None = None) -> dict[str, float]:
        """P@1 and nDCG@5, in 0..1, the mean over the items; zero without any.

        Args:
            labels: int64 [V, S], -1 where padded; best first where there are no scores.
            scores: [V, S].
        """
        if not labels.size:
            return {"val_p1": 0.0, JUDGE: 0.0}
        if scores is None:
            scores = np.broadcast_to(-np.arange(labels.shape[1], dtype=np.float32), labels.shape)
        real = (labels >= 0) & ~contains(self.removed, labels)
        true = contains(self.truth, labels) & real
        totals = np.diff(self.truth.indptr)
        first = np.where(real, scores, -np.inf).argmax(1)
        hit = true[np.arange(len(labels)), first]
        return {"val_p1": float(hit.mean()), JUDGE: float(ndcg(scores, real, true, totals, DEPTH).mean())}


@dataclass(frozen=True)
class Stopping:
    """When to stop.

    Attributes:
        patience: epochs without a better one, after which training stops; 0: it makes all epochs and keeps the last.
        judged: validation items that tell epochs apart.
    """

    patience: int
    judged: int

    @property
    def early(self) -> bool:
        """Whether validation decides at all."""
        return self.patience > 0 and self.judged >= FEWEST

    def best(self, curve: Sequence[dict[str, float]]) -> int:
        """The epoch to keep, from 1: the first of the best; the last where validation does not decide. 0 if none."""
        if not self.early:
            return len(curve)
        return int(np.argmax([row[JUDGE] for row in curve])) + 1 if curve else 0

    def enough(self, curve: Sequence[dict[str, float]]) -> bool:
        """Whether `patience` epochs have passed without a better one."""
        return self.early and len(curve) - self.best(curve) >= self.patience
