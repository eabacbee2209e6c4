"""A synthetic training load of a realistic size: a catalogue's tables on disk, random pictures and titles in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from mufin_model.catalog.catalog import Catalog
from mufin_model.config import Settings
from mufin_model.encoders import text as text_encoder
from mufin_model.encoders.backbones import Backbones, catalog_texts
from mufin_model.encoders.image import ImageEncoder
from mufin_model.network.bags import Bags
from mufin_model.network.embedder import Embedder, FrozenVectors, TunedImages, TunedTexts

WORDS = 3000
PICTURES_PER_ITEM = (1, 4)
"""Least, and one more than most; a picture belongs to two bags on average, as those of labels do that are products."""
FROZEN_WIDTH = {"image": 768, "text": 384}
"""Of cached vectors: those of a ViT and of a small sentence encoder."""


@dataclass(frozen=True)
class Workload:
    """A catalogue of training items alone, its bags and its decoded pictures [n_images, 3, s, s]."""

    catalog: Catalog
    bags: Bags
    pixels: np.ndarray

    @classmethod
    def make(cls, folder: Path, items: int, size: int, seed: int = 0) -> Workload:
        """`items` items, a quarter as many labels, two labels an item, one to three pictures a bag."""
        rng = np.random.default_rng(seed)
        labels = max(4, items // 4)
        low, high = PICTURES_PER_ITEM
        pictures = max(4, items)
        words = np.array([f"{a}{b}" for a in "bdfgklmnprst" for b in range(WORDS // 12)])

        def entities(count: int) -> dict[str, object]:
            titles = [" ".join(words[rng.zipf(1.3, size=n) % len(words)]) for n in rng.integers(3, 16, size=count)]
            bags = [sorted(rng.choice(pictures, n, replace=False).tolist()) for n in rng.integers(low, high, count)]
            return {
                "id": [str(row) for row in range(count)],
                "text": titles,
                "images": pl.Series(bags, dtype=pl.List(pl.UInt32)),
            }

        pl.DataFrame(entities(items)).with_columns(split=pl.lit("train")).write_parquet(folder / "items.parquet")
        pl.DataFrame(entities(labels)).with_columns(zero_shot=pl.lit(False)).write_parquet(folder / "labels.parquet")
        pairs = {
            "item": np.repeat(np.arange(items, dtype=np.uint32), 2),
            "label": rng.integers(0, labels, 2 * items).astype(np.uint32),
        }
        pl.DataFrame(pairs).with_columns(split=pl.lit("train")).write_parquet(folder / "links.parquet")
        pl.DataFrame(pairs).head(0).write_parquet(folder / "filters.parquet")
        catalog = Catalog.load(folder)
        pixels = rng.integers(0, 256, (pictures, 3, size, size), dtype=np.uint8)
        return cls(catalog, Bags(catalog, ["image", "text"]), pixels)

    def embedder(self, settings: Settings, tuned: bool) -> tuple[Embedder, Backbones | None]:
        """Module I's network on cached vectors of random values, or on backbones of random weights that train."""
        torch.manual_seed(settings.seed)
        if not tuned:
            counts = {"image": len(self.pixels), "text": self.bags.n_items + self.bags.n_labels}
            vectors = (FrozenVectors(torch.randn(counts[name], width)) for name, width in FROZEN_WIDTH.items())
            return Embedder(*vectors, settings.pretrain), None
        texts = catalog_texts(self.catalog)
        chosen = settings.encode
        size = self.pixels.shape[-1]
        images = ImageEncoder(chosen.image_backbone, "none", size, chosen.image_scaled)
        backbones = Backbones(images, text_encoder.build(chosen, texts))
        sources = TunedImages(backbones.image, self.pixels), TunedTexts(backbones.text, texts)
        return Embedder(*sources, settings.pretrain), backbones
