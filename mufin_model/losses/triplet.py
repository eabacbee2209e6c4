"""The margin loss of the paper's Module I: positives against the hardest in-batch negatives, of labels and of items.

A positive is hard where its cosine is at most `positive_threshold` (section 4: more similar ones give vanishing
gradients). Only hard ones are drawn nearer; the negatives of an easy one are pushed away all the same, from the
threshold. Were easy positives left out altogether, as the paper words it, embeddings that are all alike would cost
nothing, and from random weights training ends there: drawing everything together is the first thing that it learns.
The paper's anchors are labels, the published code's items; with labels alone training ends near the same place.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mufin_model.config import Pretrain

SHARPNESS = 0.1
"""Temperature of the negatives' weights, as in the published code."""

LEAST_MARGIN = 0.1
"""Of the dynamic margin (PRIME, as in ViXML's code)."""


def triplet_loss(similarity: Tensor, positive: Tensor, settings: Pretrain) -> Tensor:
    """Mean of both directions: each label's items, each item's labels.

    Args:
        similarity: [B, U]; cosines of items and labels.
        positive: [B, U]; True where relevant.
        settings: margin, dynamic_margin, negatives, positive_threshold.
    """
    cosine = similarity.float()
    return 0.5 * (one_way(cosine.T, positive.T, settings) + one_way(cosine, positive, settings))


def one_way(cosine: Tensor, positive: Tensor, settings: Pretrain) -> Tensor:
    """Hinge over (anchor, positive, hard negative), the anchors being rows: its mean over positive pairs.

    Negatives are weighted by a softmax of their similarity, without gradient, and summed. With `dynamic_margin` the
    margin is the distance between positive and negative, from LEAST_MARGIN to `margin`, without gradient: a pair apart
    by more than LEAST_MARGIN rests.
    """
    count = min(settings.negatives, cosine.shape[1])
    negative, _ = cosine.masked_fill(positive, float("-inf")).topk(count, dim=1)  # [rows, n]
    # Nothing weighs where a row has fewer negatives, or none at all.
    weight = torch.nan_to_num(torch.softmax(negative.detach() / SHARPNESS, dim=1))
    against = negative.masked_fill(torch.isinf(negative), 0)
    # As many places as the row of most positives needs; on a GPU, which would stall to tell that, as there are columns.
    most = cosine.shape[1] if cosine.is_cuda else max(1, int(positive.sum(1).max()))
    near, place = cosine.masked_fill(~positive, float("-inf")).topk(most, dim=1)  # [rows, p]
    real = positive.gather(1, place)
    near = near.masked_fill(~real, 0).clamp(max=settings.positive_threshold)
    gap = against.unsqueeze(1) - near.unsqueeze(2)  # [rows, p, n]
    margin = gap.detach().abs().clamp(LEAST_MARGIN, settings.margin) if settings.dynamic_margin else settings.margin
    # Not clamp, which has a slope of one at 0: the dynamic margin puts pairs on exactly that.
    each = (weight.unsqueeze(1) * torch.relu(gap + margin)).sum(2)
    return (each * real).sum() / real.sum().clamp(min=1)
