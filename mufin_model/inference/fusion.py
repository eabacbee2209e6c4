"""The final score: a weighted sum of standardised components, its weights learnt from validation items.

(The published code sweeps its one weight on the test set; here the test set is never seen.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from mufin_model.errors import ArtefactError
from mufin_model.losses.softmax import decoupled_softmax
from mufin_model.ranking import FUSED_DIGITS, rounded

LEAST = 5
"""Validation items with a relevant candidate, below which nothing is learnt of them."""

DOUBT = 1.0
"""Penalty on the squared weight of each component but the first, shared among the validation items: a dozen of them say
little, and the first, the best on most catalogues, then stays nearly alone. Of a hundred it is hardly felt."""


@dataclass(frozen=True)
class Fusion:
    """Weights, the largest of them one, and standardisation, by component name."""

    weights: dict[str, float]
    means: dict[str, float]
    deviations: dict[str, float]

    def __call__(self, components: Mapping[str, np.ndarray]) -> np.ndarray:
        """Fuse component scores, each [n, S], to the decimals that count; -inf (padding) stays."""
        total = None
        for name, weight in self.weights.items():
            part = weight * (components[name] - self.means[name]) / self.deviations[name] if weight else 0.0
            total = part if total is None else total + part
        return rounded(np.asarray(total), FUSED_DIGITS)


def choose(components: Mapping[str, np.ndarray], real: np.ndarray, positive: np.ndarray) -> Fusion:
    """The weights, none below zero, of which the decoupled softmax loss is least: a convex problem, with one answer. (A
    search for the best nDCG is as good with a thousand validation items, and worse with a hundred:
    benchmarks/results.md.)

    Args:
        components: scores [n, S] by name. Where fewer than LEAST validation items say something, `unlearnt` has the
            weights.
        real: False where padded, [n, S].
        positive: True where relevant, [n, S].

    Raises:
        ArtefactError: a score is no finite number.
    """
    names = list(components)
    for name in names:
        if not np.isfinite(components[name][real]).all():
            raise ArtefactError(
                f"scores of validation items by {name!r} are no finite numbers",
                where="pretrained_model, finetuned_classifiers",
                mend="look at the quality checks of both, and run their stages again",
            )
    means = {name: float(components[name][real].mean()) if real.any() else 0.0 for name in names}
    deviations = {name: float(components[name][real].std()) or 1.0 if real.any() else 1.0 for name in names}
    weights, true = unlearnt(names), positive & real
    if int(true.any(1).sum()) >= LEAST:
        scaled = [np.where(real, (components[name] - means[name]) / deviations[name], 0) for name in names]
        parts = torch.from_numpy(np.stack(scaled, axis=-1)).double()
        found = _least(parts, torch.from_numpy(real), torch.from_numpy(true), weights)
        weights = found / found.max() if found.max() > 0 else weights
    return Fusion(dict(zip(names, weights.tolist(), strict=True)), means, deviations)


def unlearnt(names: Sequence[str]) -> np.ndarray:
    """Weights [C] where validation items say nothing: of the parts that are right by construction.

    The closed-form classifiers reproduce what labelled items have; so do nearest neighbours. Without either, all parts
    weigh alike.
    """
    for name in ("ridge", "neighbours"):
        if name in names:
            return np.array([float(one == name) for one in names])
    return np.ones(len(names))


def _least(scaled: Tensor, real: Tensor, true: Tensor, start: np.ndarray) -> np.ndarray:
    """Weights [C] of least loss, of components [n, S, C]."""

    doubt = DOUBT / int(true.any(1).sum())

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        tried = torch.from_numpy(weights).requires_grad_()
        found = decoupled_softmax(scaled @ tried, true, real) + doubt * tried[1:].square().sum()
        return found.item(), torch.autograd.grad(found, tried)[0].numpy()

    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(start)).x)
