"""Best first: one order for equal scores everywhere, and how well an order ranks what is true, for choices made on
held-out items. (Reports use `evaluation.metrics`.)

Equal items must get equal answers, alone or in a batch, whatever the number of threads and the device. Their scores
differ in the last bits, since sums are taken in another order. So scores count to DIGITS decimals, and of equal ones
the lower row comes first.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

DIGITS = 5
"""Decimals of a score that count: far below what tells labels apart, above what the order of a sum changes."""

FUSED_DIGITS = 3
"""Of a fused score, whose parts are divided by deviations of some hundredths, and the noise with them."""

CHUNK = 1024
"""Rows ranked at once, which bounds the memory of their keys."""


def rounded(scores: np.ndarray, digits: int = DIGITS) -> np.ndarray:
    """Scores to the decimals that count, float32."""
    return np.round(scores.astype(np.float64), digits).astype(np.float32)


def best(scores: Tensor, k: int) -> Tensor:
    """Columns int64 [n, k'] of the k best scores of each row [n, L], best first, k' = min(k, L)."""
    width = scores.shape[1]
    k = min(k, width)
    column = torch.arange(width, device=scores.device)
    parts = [
        ((some.double() * 10**DIGITS).round().long() * width - column).topk(k, dim=1).indices
        for some in scores.split(CHUNK)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, k, dtype=torch.long, device=scores.device)


def ndcg(scores: np.ndarray, real: np.ndarray, positive: np.ndarray, totals: np.ndarray, k: int = 5) -> np.ndarray:
    """nDCG@k of each item, [n].

    Args:
        scores: [n, S].
        real: False where padded, [n, S].
        positive: True where relevant, [n, S].
        totals: relevant labels of each item, found or not, [n].
        k: places looked at.
    """
    k = min(k, scores.shape[1])
    scores = np.where(real, scores, -np.inf)
    first = np.argsort(-np.round(scores, DIGITS), axis=1, kind="stable")[:, :k]
    discount = 1 / np.log2(np.arange(2, k + 2))
    gain = (np.take_along_axis(positive, first, 1) * discount).sum(1)
    return np.asarray(gain / np.cumsum(discount)[np.clip(totals, 1, k) - 1])
