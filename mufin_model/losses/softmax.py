"""InfoNCE with every other positive of a row masked: no positive competes with another.

The decoupled softmax of DEXML (Gupta et al., ICLR 2024): of embeddings in both directions, where each row counts once
(`softmax_loss`), and of scored shortlists, where each true label does (`decoupled_softmax`).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mufin_model.config import Pretrain


def softmax_loss(similarity: Tensor, positive: Tensor, settings: Pretrain) -> Tensor:
    """Mean of both directions over all positive pairs of the batch.

    Args:
        similarity: [B, U]; cosines.
        positive: [B, U]; True where relevant.
        settings: its temperature.
    """
    logits = similarity.float() / settings.temperature
    return 0.5 * (one_way(logits, positive) + one_way(logits.T, positive.T))


def one_way(logits: Tensor, positive: Tensor) -> Tensor:
    """Mean over rows with a positive of -log softmax of each positive against the row's negatives; zero without any."""
    negatives = torch.logsumexp(logits.masked_fill(positive, float("-inf")), dim=1, keepdim=True)
    each = torch.logaddexp(logits, negatives) - logits
    # A row counts once however many positives it has.
    per_row = (each * positive).sum(1) / positive.sum(1).clamp(min=1)
    return per_row.sum() / positive.any(1).sum().clamp(min=1)


def decoupled_softmax(scores: Tensor, true: Tensor, real: Tensor) -> Tensor:
    """The mean over true labels of -log(e^s / (e^s + the sum of e over real ones that are not true)); zero without any.

    Args:
        scores: [n, S].
        true, real: bool [n, S].
    """
    others = torch.logsumexp(scores.masked_fill(true | ~real, float("-inf")), dim=1, keepdim=True)
    others = torch.where(torch.isfinite(others), others, torch.full_like(others, -1e4))
    return (softplus(others - scores) * true).sum() / true.sum().clamp(min=1)
