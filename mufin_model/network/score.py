"""Score shortlists with a trained ranker: the labels' side once, then the items in batches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mufin_model.network.attention import LabelTables
from mufin_model.network.bags import Bags
from mufin_model.network.ranker import Ranker


@torch.inference_mode()
def label_side(
    ranker: Ranker, bags: Bags, image: Tensor, text: Tensor, n_labels: int, batch: int = 4096
) -> tuple[LabelTables | None, Tensor]:
    """Cross-attention tables and classifiers [L, D] of the first `n_labels` labels.

    Args:
        image: projected descriptors [n_images, D]; text: [n_texts, D].
    """
    parts = []
    for at in range(0, n_labels, batch):
        labels = np.arange(at, min(at + batch, n_labels))
        taken = bags.take(bags.labels(labels)).to(text.device)
        asked = torch.from_numpy(labels).to(text.device)
        parts.append(ranker.label_side(asked, taken, image[taken.images], text[taken.texts]))
    weights = torch.cat([weight for _, weight in parts])
    tables = [table for table, _ in parts if table is not None]
    if not tables:
        return None, weights
    # Batches are padded to different widths: pad all to the widest bag.
    widest = max(table.mask.shape[1] for table in tables)

    def widen(x: Tensor, dim: int) -> Tensor:
        short = widest - x.shape[dim]
        return torch.nn.functional.pad(x, [0, 0] * (x.ndim - 1 - dim) + [0, short]) if short else x

    return LabelTables(
        torch.cat([widen(t.key, 2) for t in tables]),
        torch.cat([widen(t.bias, 2) for t in tables]),
        torch.cat([widen(t.value, 2) for t in tables]),
        torch.cat([widen(t.mask, 1) for t in tables]),
    ), weights


@torch.inference_mode()
def score_shortlists(
    ranker: Ranker,
    bags: Bags,
    image: Tensor,
    text: Tensor,
    labels: tuple[LabelTables | None, Tensor],
    entities: np.ndarray,
    shortlist: np.ndarray,
    batch: int = 64,
) -> np.ndarray:
    """Classifier cosines float32 [n, S] of items with their shortlisted labels [n, S] (-1 where padded: -inf)."""
    out = np.full(shortlist.shape, -np.inf, np.float32)
    for at in range(0, len(entities), batch):
        rows = slice(at, at + batch)
        taken = bags.take(entities[rows]).to(text.device)
        item = ranker.bags(taken, image[taken.images], text[taken.texts])
        places = torch.from_numpy(shortlist[rows].clip(min=0).astype(np.int64)).to(text.device)
        out[rows] = ranker.score(*item, *labels, places).float().cpu().numpy()
    out[shortlist < 0] = -np.inf
    return out


@torch.inference_mode()
def nearest(queries: Tensor, vectors: Tensor, k: int, batch: int = 256) -> np.ndarray:
    """Rows of the k vectors [L, D] of the largest inner product with each query [n, D]: int64 [n, k], best first."""
    k = min(k, len(vectors))
    parts = [torch.zeros(0, k, dtype=torch.int64)]
    parts += [(some @ vectors.T).topk(k, dim=1).indices for some in queries.split(batch)]
    return torch.cat(parts).numpy()
