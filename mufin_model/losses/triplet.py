"""The margin loss of the paper's Module I: hard positives against the hardest in-batch negatives, for each label.

Positives of a label are hard where their cosine is at most `positive_threshold` (section 4: more similar ones
give vanishing gradients). Negatives are weighted by a softmax of their similarity, without gradient, and summed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mufin_model.config import Pretrain

SHARPNESS = 0.1
"""Temperature of the negatives' weights, as in the published code."""


def triplet_loss(similarity: Tensor, positive: Tensor, settings: Pretrain) -> Tensor:
    """Hinge over (label, hard positive item, hard negative item).

    Args:
        similarity: [B, U]; cosines of items and labels.
        positive: [B, U]; True where relevant.
        settings: margin, negatives, positive_threshold.
    """
    by_label, relevant = similarity.float().T, positive.T  # [U, B]
    hard = relevant & (by_label <= settings.positive_threshold)
    if not hard.any():
        return by_label.sum() * 0.0
    count = min(settings.negatives, by_label.shape[1])
    negative, _ = by_label.masked_fill(relevant, float("-inf")).topk(count, dim=1)  # [U, n]
    real = torch.isfinite(negative)
    weight = torch.nan_to_num(torch.softmax(negative.detach() / SHARPNESS, dim=1))
    label, item = hard.nonzero(as_tuple=True)
    # embedding(): as negative[label], with a gradient that is summed in the same order each time.
    against = torch.nn.functional.embedding(label, negative)
    gap = against - by_label[label, item].unsqueeze(1) + settings.margin  # [pairs, n]
    hinge = torch.where(real[label], gap.clamp(min=0), torch.zeros_like(gap))
    return (weight[label] * hinge).sum(1).mean()
