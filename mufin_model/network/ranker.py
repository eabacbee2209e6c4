"""The ranker of Module IV: descriptors refined, A_S, A_C, classifiers (paper, section 3; spec of its code 1.6-1.7).

It works on the pretrained model's projected descriptors, so no backbone runs here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mufin_model.network.attention import CrossAttention, LabelTables, SelfAttention, gather, pool
from mufin_model.network.bags import BagBatch
from mufin_model.network.classifiers import Classifiers
from mufin_model.network.embedder import assemble, attend


class Residual(nn.Module):
    """x + dropout(relu(W x + b)), starting as the identity."""

    def __init__(self, dimension: int, dropout: float) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(dimension, dimension), nn.Dropout(dropout)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.dropout(torch.relu(self.linear(x)))


class Ranker(nn.Module):
    """Scores of items against shortlisted labels.

    Args:
        dimension, heads, dropout: as in pretraining.
        attention: A_S to go on from (Module III keeps it), or None for the masked mean.
        cross_attention: whether items are adapted to labels.
        classifiers: w_l.
        scale: of the cosine before the logistic loss.
    """

    def __init__(
        self,
        dimension: int,
        heads: int,
        dropout: float,
        attention: SelfAttention | None,
        cross_attention: bool,
        classifiers: Classifiers,
        scale: float,
    ) -> None:
        super().__init__()
        self.refine_image, self.refine_text = Residual(dimension, dropout), Residual(dimension, dropout)
        self.attention = attention
        self.cross = CrossAttention(dimension, heads, dropout) if cross_attention else None
        self.classifiers = classifiers
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.shift = nn.Parameter(torch.tensor(-0.5 * scale))

    def bags(self, batch: BagBatch, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Attended bags [B, M, D], their mask [B, M] and unit vectors [B, D], of descriptor vectors."""
        bags, mask = assemble(batch, self.refine_image(image), self.refine_text(text))
        attended, unit = attend(self.attention, bags, mask)
        return attended, mask, unit

    def label_side(
        self, labels: Tensor, batch: BagBatch, image: Tensor, text: Tensor
    ) -> tuple[LabelTables | None, Tensor]:
        """Cross-attention tables and classifiers [U, D] of labels [U]."""
        bags, mask, unit = self.bags(batch, image, text)
        return (None if self.cross is None else self.cross.fold(bags, mask)), self.classifiers(labels, unit)

    def score(
        self, bags: Tensor, mask: Tensor, unit: Tensor, tables: LabelTables | None, weights: Tensor, at: Tensor
    ) -> Tensor:
        """Cosines [B, S] of items with the labels `at` [B, S], rows of `tables` and `weights`."""
        if self.cross is None or tables is None:
            return torch.einsum("bd,bsd->bs", unit, gather(weights, at))
        adapted = pool(self.cross.adapt(bags, tables, at), mask.unsqueeze(1))
        return (adapted * gather(weights, at)).sum(-1)
