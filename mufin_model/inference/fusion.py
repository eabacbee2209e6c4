"""The final score: a weighted sum of standardised components, its weights chosen on validation items.

(The published code sweeps its one weight on the test set; here the test set is never seen.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

GRID = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
"""Weights tried for each component in turn."""

ROUNDS = 4
"""Passes over the components."""


@dataclass(frozen=True)
class Fusion:
    """Weights and standardisation by component name."""

    weights: dict[str, float]
    means: dict[str, float]
    deviations: dict[str, float]

    def __call__(self, components: Mapping[str, np.ndarray]) -> np.ndarray:
        """Fuse component scores, each [n, S]; -inf (padding) stays."""
        total = None
        for name, weight in self.weights.items():
            part = weight * (components[name] - self.means[name]) / self.deviations[name] if weight else 0.0
            total = part if total is None else total + part
        return np.asarray(total, np.float32)


def choose(components: Mapping[str, np.ndarray], real: np.ndarray, positive: np.ndarray, totals: np.ndarray) -> Fusion:
    """Weights by coordinate search for nDCG@5.

    Args:
        components: scores [n, S] by name; the first is the anchor, whose weight is one.
        real: False where padded, [n, S].
        positive: True where relevant, [n, S].
        totals: relevant labels of each item, found or not, [n].
    """
    names = list(components)
    means = {name: float(components[name][real].mean()) if real.any() else 0.0 for name in names}
    deviations = {name: float(components[name][real].std()) or 1.0 if real.any() else 1.0 for name in names}
    scaled = {
        name: np.where(real, (np.where(real, components[name], 0) - means[name]) / deviations[name], 0)
        for name in names
    }
    weights = {name: 1.0 if name == names[0] else 0.0 for name in names}
    if not len(totals) or not positive.any():
        return Fusion(weights, means, deviations)
    best = ndcg(_sum(scaled, weights), real, positive, totals)
    for _ in range(ROUNDS):
        before = dict(weights)
        for name in names[1:]:
            for weight in GRID:
                tried = weights | {name: weight}
                score = ndcg(_sum(scaled, tried), real, positive, totals)
                if score > best + 1e-6:
                    best, weights = score, tried
        if weights == before:
            break
    return Fusion(weights, means, deviations)


def _sum(scaled: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    return sum(weight * scaled[name] for name, weight in weights.items() if weight)  # type: ignore[return-value]


def ndcg(scores: np.ndarray, real: np.ndarray, positive: np.ndarray, totals: np.ndarray, k: int = 5) -> float:
    """nDCG@k of scores [n, S]; the other arguments as in `choose`."""
    k = min(k, scores.shape[1])
    scores = np.where(real, scores, -np.inf)
    best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable"), 1)
    discount = 1 / np.log2(np.arange(2, k + 2))
    gain = (np.take_along_axis(positive, best, 1) * discount).sum(1)
    ideal = np.cumsum(discount)[np.clip(totals, 1, k) - 1]
    return float((gain / ideal).mean())
