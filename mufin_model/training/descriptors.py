"""Where a step's descriptors come from: cached, or computed by an encoder that trains; and how they are made anew.

Modules I and IV share this: each may tune the backbones (`pretrain.train_backbones`, `finetune.end_to_end`), and each
then leaves every descriptor as its tuned encoder sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mufin_model.arrays import fill, read_array, read_tensors
from mufin_model.artefacts import read_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.config import Pretrain
from mufin_model.encoders.backbones import Backbones, catalog_texts, pixels
from mufin_model.network.bags import BagBatch, Bags
from mufin_model.network.embedder import Embedder, FrozenVectors, TunedImages, TunedTexts
from mufin_model.progress import track


class CachedDescriptors(nn.Module):
    """Projected descriptors as an earlier stage left them; the part of an Embedder before A_S, without weights.

    Args:
        image: [n_images, D]; text: [n_texts, D].
    """

    def __init__(self, image: Tensor, text: Tensor) -> None:
        super().__init__()
        self.images, self.texts = FrozenVectors(image), FrozenVectors(text)

    def load(self, batch: BagBatch) -> BagBatch:
        return batch

    def descriptors(self, batch: BagBatch) -> tuple[Tensor, Tensor]:
        """As an Embedder's: of the distinct images [U, D] and of the bags' texts [B, D]."""
        return self.images(batch.images), self.texts(batch.texts)


def sources(
    tuned: Mapping[str, bool], catalog: Catalog, encoded: Path, backbones: Backbones, state: Path, decode: bool = True
) -> tuple[FrozenVectors | TunedImages, FrozenVectors | TunedTexts]:
    """Each modality's vectors: cached by `encode` where its backbone is frozen, computed anew where it is tuned.

    Args:
        tuned: by modality, `image` and `text`.
        encoded: the artefact `encoder_embeddings`.
        backbones: to tune.
        state: folder for the decoded images.
        decode: False opens the images that another rank decoded.
    """
    images: FrozenVectors | TunedImages
    if tuned["image"]:
        images = TunedImages(backbones.image, pixels(catalog, state, backbones.image.size, decode))
    else:
        images = FrozenVectors(torch.from_numpy(read_array(encoded / "image.npy")))
    texts: FrozenVectors | TunedTexts
    if tuned["text"]:
        texts = TunedTexts(backbones.text, catalog_texts(catalog))
    else:
        texts = FrozenVectors(torch.from_numpy(read_array(encoded / "text.npy")))
    return images, texts


def pretrained_encoder(
    folder: Path, catalog: Catalog, encoded: Path, state: Path, decode: bool = True, weights: Path | None = None
) -> tuple[Embedder, Backbones]:
    """The encoder of `pretrained_model`, to go on training: its projections, and the backbones where it tuned them.

    Without A_S, which the ranker takes up as its own. The backbones are those inside the encoder.

    Args:
        weights: folder of an encoder of this shape that was trained on, with its own backbones.
    """
    config = read_json(folder / "config.json")
    trained = weights or folder
    backbones = Backbones.load(trained / "backbones")
    same = {k: config[k] for k in ("modalities", "dimension", "dropout", "early_fusion", "images_per_bag")}
    before = Pretrain.model_construct(**same, self_attention=False)
    encoder = Embedder(*sources(config["tuned"], catalog, encoded, backbones, state, decode), before)
    saved = trained / "model.safetensors"
    tensors = {name: w for name, w in read_tensors(saved).items() if not name.startswith("attention.")}
    fill(encoder, tensors, saved)
    return encoder, backbones


@torch.inference_mode()
def re_encode(
    encoder: Embedder,
    sizes: tuple[int, int],
    rows: tuple[np.ndarray, np.ndarray] | None = None,
    batch: int = 512,
    bags: Bags | None = None,
) -> tuple[Tensor, Tensor]:
    """Descriptors as the encoder sees them now, before A_S, on the CPU.

    Args:
        encoder: left in evaluation mode.
        sizes: of the image store and of the texts.
        rows: of images and texts, where not all are wanted; the others stay zero.
        batch: descriptors at once.
        bags: fused ones, where the encoder fuses early: texts read with their images follow the texts alone.

    Returns:
        image float32 [n_images, D] and text float32 [n_texts, D], or [2 * n_texts, D] with early fusion.
    """
    encoder.eval()
    device = encoder.project_text.linear.weight.device
    every = rows if rows is not None else tuple(np.arange(size) for size in sizes)

    def table(encode: Any, size: int, wanted: np.ndarray, what: str) -> Tensor:
        out = torch.zeros(size, encoder.project_text.linear.out_features)
        parts = torch.from_numpy(wanted).split(batch) if len(wanted) else ()
        for some in track(parts, f"re-encode {what}", len(parts)):
            out[some] = encode(some.to(device)).float().cpu()
        return out

    image, text = table(encoder.image, sizes[0], every[0], "images"), table(encoder.text, sizes[1], every[1], "texts")
    if bags is None or encoder.tokens is None:
        return image, text

    def fused(entities: Tensor) -> Tensor:
        return encoder.descriptors(bags.take(entities.cpu().numpy()).to(device))[1]

    return image, torch.cat([text, table(fused, sizes[1], every[1], "texts with their images")])
