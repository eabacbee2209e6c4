"""The logistic loss of Module IV over shortlisted labels."""

from __future__ import annotations

import torch
from torch import Tensor


def logistic_loss(cosine: Tensor, positive: Tensor, real: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Binary cross-entropy of `scale · cosine + shift`, the mean over real pairs.

    Args:
        cosine: [B, S].
        positive: True where relevant, [B, S].
        real: False where the shortlist is padded, [B, S].
    """
    logits = scale * cosine.float() + shift
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, positive.float(), reduction="none")
    return (each * real).sum() / real.sum().clamp(min=1)
