"""The loss of a one-vs-all head over all labels."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mufin_model.losses.softmax import one_way


def head_loss(logits: Tensor, truth: Tensor, kind: Literal["softmax", "logistic"]) -> Tensor:
    """Mean over items.

    Args:
        logits: [B, L].
        truth: True where relevant, [B, L].
        kind: logistic: binary cross-entropy summed over labels (Renee, Jain et al., MLSys 2023); softmax: each
            positive against all negatives, other positives masked (DEXML).
    """
    if kind == "softmax":
        return one_way(logits.float(), truth)
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), truth.float(), reduction="none")
    return each.sum(1).mean()
