"""Label prototypes: a label's vector joined by what its items and its cluster tell (PRIME, as in ViXML's code).

One transformer encoder layer over three tokens of each label: its own unit vector, a free vector shared by the
labels of its cluster, and the centroid of its training items' embeddings as last seen in training. Their mean,
normalised, is the enriched label.
"""

from __future__ import annotations

import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn.functional import normalize

from mufin_model.network.attention import gather


class Prototypes(nn.Module):
    """Enriches the labels seen in training.

    A label that has no centroid (yet) has that token masked. Zero-shot labels are not for this: no gradient ever
    taught the layer what to do without centroid and cluster, while their raw vectors are trained to be found.

    Args:
        cluster: of each label, int64 [L].
        first: entity row of the first label (see Bags).
        dimension, heads, dropout: as in pretraining.
    """

    cluster: Tensor
    centroid: Tensor

    def __init__(self, cluster: Tensor, first: int, dimension: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.first = first
        self.shared = nn.Embedding(int(cluster.max()) + 1, dimension)
        nn.init.normal_(self.shared.weight, std=dimension**-0.5)  # of unit length, as the other two are
        self.layer = nn.TransformerEncoderLayer(
            dimension, heads, 4 * dimension, dropout, activation="gelu", batch_first=True
        )
        self.register_buffer("cluster", cluster)
        self.register_buffer("centroid", torch.zeros(len(cluster), dimension))

    @torch.no_grad()
    def refresh(self, links: sparse.csr_matrix, items: Tensor) -> None:
        """Centroids anew.

        Args:
            links: training links CSR [N, L].
            items: unit vectors [N, D] of the training items, or zeros where none was seen yet.
        """
        sums = torch.from_numpy(links.T @ items.cpu().numpy()).to(self.centroid.dtype)
        self.centroid.copy_(normalize(sums, dim=1))

    def forward(self, own: Tensor, entities: Tensor) -> Tensor:
        """Own unit vectors [U, D] of the labels that are entities [U], to enriched unit vectors [U, D]."""
        labels = entities - self.first
        centroid = self.centroid[labels]
        shared = gather(self.shared.weight, self.cluster[labels])
        tokens = torch.stack([own, shared, centroid.to(own.dtype)], dim=1)
        real = torch.ones(tokens.shape[:2], dtype=torch.bool, device=own.device)
        real[:, 2] = centroid.any(dim=1)
        mixed = self.layer(tokens, src_key_padding_mask=~real) * real.unsqueeze(-1)
        return normalize(mixed.sum(1) / real.sum(1, keepdim=True), dim=1)
