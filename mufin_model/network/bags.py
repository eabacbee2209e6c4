"""Bags: which descriptors belong to an item or a label, gathered into padded batches.

Entities are the items, then the labels; the text of entity e is text row e, its images are rows of the image store.
Text row n + e, of n entities, is e's text read together with its images (early fusion): what a bag shows that has
both, and never a bag of which one modality is masked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mufin_model.catalog.bags import pad
from mufin_model.catalog.catalog import Catalog


@dataclass(frozen=True)
class BagBatch:
    """B bags of at most M images and one text.

    Attributes:
        images: rows of the distinct images, [U].
        image_index: places in `images`, [B, M]; 0 where padded.
        image_mask: True where real, [B, M].
        texts: text rows, [B].
        text_mask: True where there is a text, [B].
        image_input, text_input: what E_V and E_T read for these rows (pixels, tokens), gathered ahead on the host;
            None where they look it up by the rows.
    """

    images: Tensor
    image_index: Tensor
    image_mask: Tensor
    texts: Tensor
    text_mask: Tensor
    image_input: Tensor | None = None
    text_input: tuple[Tensor, Tensor] | None = None

    def to(self, device: torch.device) -> BagBatch:
        """The bags on a device; what was gathered ahead goes with a training step alone."""
        tensors = (self.images, self.image_index, self.image_mask, self.texts, self.text_mask)
        return BagBatch(*(tensor.to(device) for tensor in tensors))

    def part(self, rows: slice) -> BagBatch:
        """Some of the bags, on the CPU, with the images that they hold.

        Where the batch has images, a part has one at least: ranks that train E_V together all run it.
        """
        if rows == slice(0, len(self.texts)):
            return self
        index, mask = self.image_index[rows], self.image_mask[rows]
        kept, places = torch.unique(index[mask], return_inverse=True)
        at = torch.zeros_like(index)
        at[mask] = places
        images = self.images[kept] if len(kept) else self.images[:1]
        return BagBatch(images, at, mask, self.texts[rows], self.text_mask[rows])


class Bags:
    """The descriptors of every entity of a catalogue, restricted to the modalities in use.

    Args:
        fused: bags that show text and images take the text row n + e.
    """

    def __init__(self, catalog: Catalog, modalities: list[str], fused: bool = False) -> None:
        self.fused = fused
        item_offsets, item_rows = catalog.item_images()
        label_offsets, label_rows = catalog.label_images()
        self.n_items, self.n_labels = len(catalog.items), catalog.n_labels
        self.offsets = np.concatenate([item_offsets, item_offsets[-1] + label_offsets[1:]])
        self.rows = np.concatenate([item_rows, label_rows])
        self.has_text = np.concatenate([(table["text"] != "").to_numpy() for table in (catalog.items, catalog.labels)])
        if "image" not in modalities:
            self.offsets, self.rows = np.zeros_like(self.offsets), self.rows[:0]
        if "text" not in modalities:
            self.has_text = np.zeros_like(self.has_text)

    def labels(self, labels: np.ndarray) -> np.ndarray:
        """Label rows as entities."""
        return self.n_items + labels

    def take(
        self,
        entities: np.ndarray,
        *,
        limit: int | None = None,
        drop: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> BagBatch:
        """Gather bags.

        Args:
            entities: [B].
            limit: draw at most this many images of each bag; all of them by default.
            drop: share of the bags with both modalities that lose their images, and as many their text.
            rng: for `limit` and `drop`.
        """
        rows, mask = pad(self.offsets, self.rows, entities, limit=limit, rng=rng)
        text_mask = self.has_text[entities].copy()
        if drop and rng is not None:
            both = text_mask & mask.any(1)
            chance = rng.random(len(entities))
            # At most a half each: no bag loses both.
            mask[both & (chance < min(drop, 0.5))] = False
            text_mask[both & (chance >= max(1 - drop, 0.5))] = False
        texts = np.ascontiguousarray(entities)
        if self.fused:
            texts = texts + (self.n_items + self.n_labels) * (mask.any(1) & text_mask)
        index = np.zeros_like(rows)
        images, index[mask] = np.unique(rows[mask], return_inverse=True)
        return BagBatch(*(torch.from_numpy(a) for a in (images, index, mask, texts, text_mask)))
