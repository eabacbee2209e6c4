"""One-vs-all classifiers w_l, a mixture learnt per label of a free vector and the label's own embedding.

w_l = normalize(p_l · normalize(η_l) + q_l · ẑ_l), (p_l, q_l) = softmax(a_l), a_l = 0 at first (published code,
models_clf.py). The free vectors start at the centroid of the label's items instead of at random.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class Classifiers(nn.Module):
    """L classifiers of D dimensions.

    Args:
        start: the free vectors at the start, [L, D].
        free: False leaves w_l = ẑ_l, the ablation without classifiers.
    """

    def __init__(self, start: Tensor, free: bool = True) -> None:
        super().__init__()
        self.free = nn.Embedding.from_pretrained(start.clone(), freeze=False) if free else None
        self.mixture = nn.Embedding.from_pretrained(torch.zeros(len(start), 2), freeze=False) if free else None

    def forward(self, labels: Tensor, embeddings: Tensor) -> Tensor:
        """Classifiers [U, D] of labels [U], given their embeddings ẑ [U, D]."""
        if self.free is None or self.mixture is None:
            return embeddings
        share = torch.softmax(self.mixture(labels), dim=1)
        return normalize(share[:, :1] * normalize(self.free(labels), dim=1) + share[:, 1:] * embeddings, dim=1)


class Head(nn.Module):
    """One free vector a label, scored by a scaled cosine against every item (the full one-vs-all form of Renee)."""

    def __init__(self, n_labels: int, dimension: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(n_labels, dimension) / dimension**0.5)
        self.scale = nn.Parameter(torch.tensor(15.0))
        self.shift = nn.Parameter(torch.tensor(-7.0))

    def forward(self, items: Tensor) -> Tensor:
        """Unit vectors [B, D] to logits [B, L]."""
        return self.scale * (items @ normalize(self.vectors, dim=1).T) + self.shift
