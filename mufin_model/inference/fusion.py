"""The final score: a weighted sum of standardised components, its weights chosen on validation items.

(The published code sweeps its one weight on the test set; here the test set is never seen.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mufin_model.ranking import ndcg

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

    Where they gain less over the anchor alone than one standard error of the gain, the anchor stays alone: few
    validation items would else choose by chance.

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
    alone, first = weights, ndcg(_sum(scaled, weights), real, positive, totals)
    best = first.mean()
    for _ in range(ROUNDS):
        before = dict(weights)
        for name in names[1:]:
            for weight in GRID:
                tried = weights | {name: weight}
                score = ndcg(_sum(scaled, tried), real, positive, totals).mean()
                if score > best + 1e-6:
                    best, weights = score, tried
        if weights == before:
            break
    gains = ndcg(_sum(scaled, weights), real, positive, totals) - first
    if gains.mean() < gains.std() / np.sqrt(len(gains)):
        weights = alone
    return Fusion(weights, means, deviations)


def _sum(scaled: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    return sum(weight * scaled[name] for name, weight in weights.items() if weight)  # type: ignore[return-value]
