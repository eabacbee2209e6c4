"""Items of like labels are drawn together, so that a test item's neighbours carry its labels.

A supervised contrastive loss whose target is graded: each item's in-batch neighbours should follow the
Jaccard overlap of their labels (cf. SupCon, Khosla et al., NeurIPS 2020, and NCA, Goldberger et al., 2004).
"""

from __future__ import annotations

import torch
from torch import Tensor


def neighbour_loss(items: Tensor, truth: Tensor, temperature: float) -> Tensor:
    """Cross-entropy from the overlap's distribution to the similarity's, over items that share a label with another.

    Args:
        items: unit vectors [B, D].
        truth: True where relevant, [B, L].
    """
    labels = truth.float()
    shared = labels @ labels.T
    sizes = labels.sum(1)
    overlap = shared / (sizes[:, None] + sizes[None, :] - shared).clamp(min=1)
    itself = torch.eye(len(items), dtype=torch.bool, device=items.device)
    overlap = overlap.masked_fill(itself, 0)
    log_near = torch.log_softmax((items.float() @ items.float().T / temperature).masked_fill(itself, -1e4), dim=1)
    mass = overlap.sum(1)
    each = -(overlap * log_near).sum(1) / mass.clamp(min=1e-6)
    # Items without a neighbour have lost nothing; no boolean index, which would stall a GPU.
    return each.sum() / (mass > 0).sum().clamp(min=1)
