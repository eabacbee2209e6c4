"""A_S and A_C, the two attention blocks (paper, section 3; details in its published code).

One layer, no feed-forward part: softmax attention, residual, layer norm. All four maps are spectral-normalised
and start as the identity, so that both blocks start as a smoothing of the bag.
Shapes: B bags, M descriptors in a bag, D dimension, H heads, U labels. Masks are True where real.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from mufin_model.errors import SettingError


def identity_map(dimension: int) -> nn.Module:
    """A spectral-normalised D to D map that starts as the identity."""
    linear = nn.Linear(dimension, dimension)
    nn.init.eye_(linear.weight)
    nn.init.zeros_(linear.bias)
    return spectral_norm(linear)


class Attention(nn.Module):
    """Queries [B, M, D] attend to a context [B, K, D]: LayerNorm(W_o · softmax(QKᵀ/√(D/H)) V + X)."""

    def __init__(self, dimension: int, heads: int, dropout: float) -> None:
        super().__init__()
        if dimension % heads:
            raise SettingError(f"dimension {dimension} is no multiple of heads {heads}", where="pretrain.heads")
        self.heads, self.width = heads, dimension // heads
        self.query, self.key = identity_map(dimension), identity_map(dimension)
        self.value, self.out = identity_map(dimension), identity_map(dimension)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dimension)

    def split(self, x: Tensor) -> Tensor:
        """[..., K, D] to [..., H, K, D/H]."""
        return x.unflatten(-1, (self.heads, self.width)).transpose(-3, -2)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """x [B, M, D], context [B, K, D], its mask [B, K] to [B, M, D]; padded rows of x carry no meaning."""
        q, k, v = self.split(self.query(x)), self.split(self.key(context)), self.split(self.value(context))
        weights = attention_weights(q @ k.transpose(-1, -2) / math.sqrt(self.width), mask[:, None, None, :])
        mixed = (self.dropout(weights) @ v).transpose(1, 2).flatten(2)
        return self.norm(self.out(mixed) + x)


class SelfAttention(Attention):
    """A_S: the descriptors of one bag attend to each other."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, x, mask)


class LabelTables(NamedTuple):
    """What cross-attention needs of U labels, all projections folded in.

    Softmax weights sum to one, so both key side and value side of attention are maps of the label alone:
    the logit is ⟨x, W_qᵀ(W_k z + b_k)⟩ + b_qᵀ(W_k z + b_k), and the output a mixture of W_o(W_v z + b_v).
    """

    key: Tensor  # [U, H, K, D]
    bias: Tensor  # [U, H, K]
    value: Tensor  # [U, H, K, D]
    mask: Tensor  # [U, K]


class CrossAttention(Attention):
    """A_C: an item's bag attends to a label's bag, and so is adapted to that label."""

    def fold(self, bags: Tensor, mask: Tensor) -> LabelTables:
        """Label bags [U, K, D], mask [U, K]: their tables, exact for any number of heads."""
        key = self.split(self.key(bags)) / math.sqrt(self.width)  # [U, H, K, w]
        value = self.split(self.value(bags))
        # Rows of W_q and columns of W_o that belong to each head: [H, w, D] and [H, D, w].
        w_q = self.query.weight.unflatten(0, (self.heads, self.width))
        b_q = self.query.bias.unflatten(0, (self.heads, self.width))
        w_o = self.out.weight.unflatten(1, (self.heads, self.width)).transpose(0, 1)
        return LabelTables(
            torch.einsum("uhkw,hwd->uhkd", key, w_q),
            torch.einsum("uhkw,hw->uhk", key, b_q),
            torch.einsum("uhkw,hdw->uhkd", value, w_o),
            mask,
        )

    def adapt(self, x: Tensor, tables: LabelTables, labels: Tensor) -> Tensor:
        """Items' bags adapted to their labels.

        Args:
            x: [B, M, D].
            tables: of U labels.
            labels: rows of the tables, [B, S].

        Returns:
            [B, S, M, D].
        """
        key, value = gather(tables.key, labels), gather(tables.value, labels)  # [B, S, H, K, D]
        mask = tables.mask[labels]  # [B, S, K]
        logits = torch.einsum("bmd,bshkd->bshmk", x, key) + gather(tables.bias, labels).unsqueeze(-2)
        weights = self.dropout(attention_weights(logits, mask[:, :, None, None, :]))
        # One product over heads and descriptors together; einsum multiplies and sums where H · K is one.
        mixed = weights.transpose(2, 3).flatten(3) @ value.flatten(2, 3)
        return self.norm(mixed + self.out.bias + x.unsqueeze(1))


def attention_weights(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax over real places; all zero where a row has none (an empty bag), never NaN."""
    weights = torch.softmax(logits.masked_fill(~mask, float("-inf")).float(), dim=-1)
    return torch.nan_to_num(weights, nan=0.0).to(logits.dtype)


def gather(table: Tensor, at: Tensor) -> Tensor:
    """table[at] along the first dimension; unlike indexing, its gradient is summed in the same order each time."""
    flat = torch.nn.functional.embedding(at, table.flatten(1))
    return flat.unflatten(-1, table.shape[1:])


def pool(bags: Tensor, mask: Tensor) -> Tensor:
    """Masked mean over descriptors, then unit norm: [..., M, D] and [..., M] to [..., D]. Zero for an empty bag."""
    weight = mask.unsqueeze(-1).to(bags.dtype)
    mean = (bags * weight).sum(-2) / weight.sum(-2).clamp(min=1)
    return torch.nn.functional.normalize(mean, dim=-1)
