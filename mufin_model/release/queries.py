"""Items that no catalogue holds, embedded by a release's own encoder: texts and pictures to bags of descriptors."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from mufin_model.arrays import fill, read_tensors
from mufin_model.artefacts import read_json
from mufin_model.catalog.bags import pad
from mufin_model.catalog.images import encode, thumbnail
from mufin_model.config import Pretrain
from mufin_model.encoders.backbones import Backbones, encode_images, encode_texts
from mufin_model.encoders.image import GIVEN
from mufin_model.network.bags import BagBatch
from mufin_model.network.embedder import Embedder, FrozenVectors, TunedImages, TunedTexts

BATCH = 256
"""Descriptors encoded at once."""


@dataclass(frozen=True)
class Query:
    """An item: its text, "" where it has none, and its pictures, each uint8 [3, size, size] as the image store has."""

    text: str
    pictures: Sequence[np.ndarray] = ()


def picture(data: bytes, size: int) -> np.ndarray:
    """A picture's file as the image store would give it back, uint8 [3, size, size].

    Raises:
        Exception: whatever Pillow's decoder raises for damaged data.
    """
    with Image.open(io.BytesIO(encode(thumbnail(data, size)))) as stored:
        return np.asarray(stored.convert("RGB")).transpose(2, 0, 1)


def bags(queries: Sequence[Query], modalities: Sequence[str]) -> BagBatch:
    """The queries' bags; pictures are numbered through, query by query."""
    seen = [query.pictures if "image" in modalities else () for query in queries]
    offsets = np.cumsum([0, *map(len, seen)])
    index, mask = pad(offsets, np.arange(offsets[-1]), np.arange(len(queries)))
    has_text = np.array([bool(query.text) and "text" in modalities for query in queries], bool)
    parts = (np.arange(offsets[-1]), index, mask, np.arange(len(seen)), has_text)
    return BagBatch(*(torch.from_numpy(part) for part in parts))


@dataclass(frozen=True)
class Encoded:
    """What an encoder made of B queries with U pictures.

    Attributes:
        image, text: projected descriptors of the pictures [U, D] and of the texts [B, D], before A_S.
        pixels: the pictures, uint8 [U, 3, s, s].
        images, sentences: what frozen backbones make of pictures [U, d] and texts [B, d], unit rows; None where tuned.
    """

    image: Tensor
    text: Tensor
    pixels: np.ndarray
    images: Tensor | None
    sentences: Tensor | None


class QueryEncoder:
    """The encoder of a release, for items of which it has no cached vectors.

    Not for several threads at once.

    Args:
        pretrained: the artefact `pretrained_model`.
        device: to run on.
        tuned: folder of an encoder of the same shape that was trained on (`finetuned_classifiers/encoder`).

    Raises:
        ArtefactError: weights are missing or damaged.
    """

    def __init__(self, pretrained: Path, device: torch.device, tuned: Path | None = None) -> None:
        config = read_json(pretrained / "config.json")
        trained = tuned or pretrained
        self.device = device
        self.backbones = Backbones.load(trained / "backbones").to(device).eval()
        self.tuned = config["tuned"]
        widths = dict(zip(("image", "text"), config["widths"], strict=True))
        # A catalogue without any picture leaves a projection of no use: of another width than the backbone's vectors.
        self.sees_pictures = self.backbones.image.name != GIVEN and self.backbones.image.width == widths["image"]
        images: FrozenVectors | TunedImages = FrozenVectors(torch.zeros(0, widths["image"]))
        texts: FrozenVectors | TunedTexts = FrozenVectors(torch.zeros(0, widths["text"]))
        if self.tuned["image"]:
            images = TunedImages(self.backbones.image, np.zeros((0, 3, self.size, self.size), np.uint8))
        if self.tuned["text"]:
            texts = TunedTexts(self.backbones.text, [""])
        same = {k: config[k] for k in ("modalities", "dimension", "dropout", "early_fusion", "images_per_bag")}
        self.embedder = Embedder(images, texts, Pretrain.model_construct(**same, self_attention=False))
        saved = trained / "model.safetensors"
        fill(self.embedder, {k: w for k, w in read_tensors(saved).items() if not k.startswith("attention.")}, saved)
        self.embedder.to(device).eval()

    @property
    def size(self) -> int:
        """Side of the pictures, in pixels."""
        return self.backbones.image.size

    @torch.inference_mode()
    def __call__(self, queries: Sequence[Query], batch: BagBatch) -> Encoded:
        """Encode B queries.

        Args:
            queries: B items.
            batch: their bags, as `bags` makes them.
        """
        # Pictures that the bags leave out are not encoded.
        pixels = [pixels for query in queries for pixels in query.pictures][: len(batch.images)]
        table = np.stack(pixels) if pixels else np.zeros((0, 3, self.size, self.size), np.uint8)
        images = sentences = None
        if isinstance(self.embedder.images, TunedImages):
            self.embedder.images.pixels = table
        elif len(table):
            images = normalize(encode_images(self.backbones.image, table, BATCH, self.device), dim=1)
            self.embedder.images.table = images.to(self.device)
        tokens = self.backbones.text.tokenize([query.text for query in queries])
        if isinstance(self.embedder.texts, TunedTexts):
            self.embedder.texts.ids, self.embedder.texts.mask = tokens
            self.embedder.texts.lengths = tokens[1].sum(1)
        else:
            sentences = normalize(encode_texts(self.backbones.text, *tokens, BATCH, self.device), dim=1)
            sentences[~batch.text_mask] = 0
            self.embedder.texts.table = sentences.to(self.device)
        return Encoded(*self.embedder.descriptors(batch.to(self.device)), table, images, sentences)
