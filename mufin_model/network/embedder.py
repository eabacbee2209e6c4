"""The siamese embedder: descriptors projected to D, fused by A_S, pooled to a unit vector (paper, section 3).

Items and labels share it. Its forward is the whole of Module I's step, so that Accelerate can wrap it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from mufin_model.config import Pretrain
from mufin_model.encoders.image import ImageEncoder, augment
from mufin_model.encoders.text import TextEncoder
from mufin_model.errors import SettingError
from mufin_model.network.attention import SelfAttention, gather, pool
from mufin_model.network.bags import BagBatch, Bags

RESIDENT = 0.5
"""Share of a GPU's free memory that the decoded images may take."""

ALIKE = 256
"""Distinct images of a batch go through E_V in multiples of this many, where the pixels are on a GPU."""


class FrozenVectors(nn.Module):
    """Cached vectors of one modality, [n, width]: rows in, vectors out. Nothing to gather ahead."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.register_buffer("table", table, persistent=False)
        self.width = table.shape[1]

    def load(self, rows: Tensor) -> None:
        return None

    def forward(self, rows: Tensor, given: None = None) -> Tensor:
        return self.table[rows]


class TunedImages(nn.Module):
    """An image backbone that trains: rows of the pixel table in, vectors out; shifted a little in training."""

    def __init__(self, backbone: ImageEncoder, pixels: np.ndarray) -> None:
        super().__init__()
        self.backbone, self.pixels, self.width = backbone, pixels, backbone.width
        self.resident: Tensor | None = None

    def settle(self, device: torch.device) -> None:
        """Keep all pixels on a GPU, where they take no more than RESIDENT of its free memory."""
        if device.type == "cuda" and self.pixels.nbytes <= RESIDENT * torch.cuda.mem_get_info(device)[0]:
            self.resident = torch.from_numpy(np.asarray(self.pixels)).to(device)

    def load(self, rows: Tensor) -> Tensor | None:
        """Pixels of rows [n] on the CPU, uint8 [n, 3, s, s]; None where the device has them."""
        return None if self.resident is not None else torch.from_numpy(self.pixels[rows.numpy()])

    def forward(self, rows: Tensor, given: Tensor | None = None) -> Tensor:
        """Rows [n], and what `load` made of them if it ran ahead, to [n, width]."""
        if self.resident is not None:
            pixels = self.resident[filled(rows, ALIKE)]
        else:
            pixels = torch.from_numpy(self.pixels[rows.cpu().numpy()]).to(rows.device) if given is None else given
        vectors: Tensor = self.backbone(augment(pixels) if self.training else pixels)
        return vectors[: len(rows)]


def filled(rows: Tensor, multiple: int) -> Tensor:
    """Rows [n] from their beginning again and again, up to the next multiple.

    cuDNN looks for a way to compute each convolution anew for each number of images, which takes the host longer than
    the GPU takes to compute it; no two batches have as many distinct images. Batch norm sees some images twice.
    """
    size = -(-len(rows) // multiple) * multiple
    return rows.repeat(-(-size // max(1, len(rows))))[:size]


class TunedTexts(nn.Module):
    """A text backbone that trains: text rows in, vectors out."""

    def __init__(self, backbone: TextEncoder, texts: list[str]) -> None:
        super().__init__()
        self.backbone, self.width = backbone, backbone.width
        self.ids, self.mask = backbone.tokenize(texts)
        self.lengths = self.mask.sum(1)

    def load(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and mask of rows [n] on the CPU, [n, T], T the longest of these texts."""
        rows = rows % len(self.ids)  # a fused vector's row (see Bags) is that of its text, counted on
        longest = max([1, *self.lengths[rows].tolist()])
        # By numpy: torch would gather so little with all its threads, beside those of the step.
        at = rows.numpy()
        ids, mask = (torch.from_numpy(table.numpy()[:, :longest][at]) for table in (self.ids, self.mask))
        return ids, mask

    def forward(
        self, rows: Tensor, given: tuple[Tensor, Tensor] | None = None, before: tuple[Tensor, ...] = ()
    ) -> Tensor:
        """Rows [n], and what `load` made of them if it ran ahead, to [n, width].

        Args:
            before: vectors [n, M, width] to read before each text, and their mask [n, M].
        """
        ids, mask = self.load(rows.cpu()) if given is None else given
        return self.backbone(ids.to(rows.device), mask.to(rows.device), *before)


class Projection(nn.Module):
    """A backbone's vectors to D: a linear map, joined by a non-linear one that starts at zero; then layer norm."""

    def __init__(self, width: int, dimension: int, dropout: float) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(width, dimension), nn.LayerNorm(dimension)
        self.branch = nn.Sequential(
            nn.Linear(width, 2 * dimension), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * dimension, dimension)
        )
        nn.init.zeros_(self.branch[-1].weight)
        nn.init.zeros_(self.branch[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x) + self.branch(x))


class Embedder(nn.Module):
    """From a batch of bags to their descriptors, attended bags and unit vectors.

    With early fusion (ViXML) E_T reads a bag's first `images_per_bag` images, through one linear map, before its
    text: the text descriptor of a bag that shows both is then a vector of both. A bag that shows one of them alone
    has that one's descriptors, as without fusion; an empty bag is a zero vector.

    Raises:
        SettingError: early fusion with a frozen E_T, or one that takes too few tokens.
    """

    def __init__(
        self, images: FrozenVectors | TunedImages, texts: FrozenVectors | TunedTexts, settings: Pretrain
    ) -> None:
        super().__init__()
        self.images, self.texts = images, texts
        self.project_image = Projection(images.width, settings.dimension, settings.dropout)
        self.project_text = Projection(texts.width, settings.dimension, settings.dropout)
        self.tokens, self.fused_images = None, settings.images_per_bag
        if settings.early_fusion and {"image", "text"} <= set(settings.modalities):
            check_fusion(texts, settings)
            self.tokens = nn.Linear(images.width, texts.width)
        self.attention = (
            SelfAttention(settings.dimension, settings.heads, settings.dropout) if settings.self_attention else None
        )

    def load(self, batch: BagBatch) -> BagBatch:
        """A batch on the CPU, joined by what the backbones will read: made ahead, so that no step waits for it."""
        return replace(batch, image_input=self.images.load(batch.images), text_input=self.texts.load(batch.texts))

    def image(self, rows: Tensor, given: Tensor | None = None) -> Tensor:
        """Image rows [n] to projected vectors [n, D], before A_S."""
        return self.project_image(self.images(rows, given))

    def text(self, rows: Tensor, given: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Text rows [n] to projected vectors [n, D], before A_S."""
        return self.project_text(self.texts(rows, given))

    def descriptors(self, batch: BagBatch) -> tuple[Tensor, Tensor]:
        """Projected vectors of the distinct images [U, D] and of the bags' texts [B, D], fused where both show."""
        if not len(batch.images):
            text = self.text(batch.texts, batch.text_input)
            return text[:0], text
        vectors = self.images(batch.images, batch.image_input)
        image = self.project_image(vectors)
        if self.tokens is None or isinstance(self.texts, FrozenVectors):
            return image, self.text(batch.texts, batch.text_input)
        index, shown = (x[:, : self.fused_images] for x in (batch.image_index, batch.image_mask))
        before = gather(self.tokens(vectors), index), shown & batch.text_mask.unsqueeze(1)
        return image, self.project_text(self.texts(batch.texts, batch.text_input, before))

    def forward(self, batch: BagBatch) -> Tensor:
        """Unit vectors [B, D]."""
        return attend(self.attention, *assemble(batch, *self.descriptors(batch)))[1]


def check_fusion(texts: nn.Module, settings: Pretrain) -> None:
    """Raise SettingError unless E_T trains and has places for images and text."""
    if not isinstance(texts, TunedTexts):
        raise SettingError(
            "early fusion changes what the text encoder reads, but it is frozen",
            where="pretrain.early_fusion",
            mend="set pretrain.train_backbones to true, or early_fusion to false",
        )
    places = getattr(texts.backbone.backbone.config, "max_position_embeddings", None)
    longest = texts.ids.shape[1] + settings.images_per_bag
    # Some encoders (RoBERTa) keep two of their positions to themselves.
    if places is not None and longest > places - 2:
        raise SettingError(
            f"{settings.images_per_bag} images and {texts.ids.shape[1]} tokens do not fit the {places} places of E_T",
            where="encode.max_tokens",
            mend="lower it, or pretrain.images_per_bag",
        )


def assemble(batch: BagBatch, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors of a batch's distinct images [U, D] and texts [B, D] as bags [B, M + 1, D] with their mask.

    Where no bag has an image the padded place is left out, [B, 1, D]: labels are often texts alone, and a place
    that is all padding costs as much as a real one.
    """
    if not len(image):
        return text.unsqueeze(1), batch.text_mask.unsqueeze(1)
    bags = torch.cat([gather(image, batch.image_index), text.unsqueeze(1)], dim=1)
    return bags, torch.cat([batch.image_mask, batch.text_mask.unsqueeze(1)], dim=1)


def attend(attention: SelfAttention | None, bags: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The attended bags [B, M, D] and their unit vectors [B, D]."""
    attended = bags if attention is None else attention(bags, mask)
    return attended, pool(attended, mask)


@torch.inference_mode()
def unit_vectors(
    attention: SelfAttention | None, bags: Bags, image: Tensor, text: Tensor, entities: np.ndarray, batch: int = 4096
) -> Tensor:
    """Unit vectors [n, D] of any entities from projected descriptors, image [n_images, D] and text [n_texts, D]."""
    parts = [image.new_zeros(0, text.shape[1])]
    for rows in np.split(entities, range(batch, len(entities), batch)):
        taken = bags.take(rows).to(text.device)
        parts.append(attend(attention, *assemble(taken, image[taken.images], text[taken.texts]))[1])
    return torch.cat(parts)
