"""E_V: a timm backbone from stored thumbnails to one vector an image (paper, section 3; MUFIN used ViT-B/32)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mufin_model.encoders import weights as pretrained
from mufin_model.encoders.handmade import Handmade
from mufin_model.errors import SettingError

HANDMADE = "handmade"
GIVEN = "given"
"""Vectors that the catalogue brings; nothing encodes a picture then."""

SCALE = 8.0
"""Of hand-made features, whose blocks have unit length, so that they weigh about as much as a backbone's."""


class ImageEncoder(nn.Module):
    """A timm backbone with its head removed, hand-made features, or both side by side.

    Args:
        name: any timm model, `handmade`, or a timm model followed by `+handmade`.
        weights: "none", "hub", or a file or package of weights (`mufin_model.encoders.weight_files`).
        size: side of the stored pictures, pixels.
        scaled: side to which the timm model sees them enlarged; 0: as they are stored.

    Raises:
        SettingError: timm knows no such model, or the weights cannot be had.
    """

    def __init__(self, name: str, weights: str, size: int, scaled: int = 0) -> None:
        super().__init__()
        self.name, self.size, self.scaled = name, size, scaled
        model, plus, extra = name.partition("+")
        if plus and extra != HANDMADE:
            raise SettingError(f"nothing known to add: {extra!r}", where="encode.image_backbone", mend="+handmade")
        self.handmade = Handmade() if HANDMADE in (model, extra) else None
        self.backbone = None if model == HANDMADE or name == GIVEN else self._timm(model, weights)
        self.width = 0 if name == GIVEN else self._measure()

    def _timm(self, name: str, weights: str) -> nn.Module:
        # Imported here: timm takes seven seconds, and most stages never see an image.
        import timm

        size = self.scaled or self.size
        options: dict[str, Any] = {"num_classes": 0, "pretrained": weights == "hub"}
        try:
            try:
                # Vision transformers fix their grid by the image's size; convolutional networks refuse the option.
                backbone = timm.create_model(name, img_size=size, **options)
            except TypeError:
                backbone = timm.create_model(name, **options)
        except Exception as error:
            near = timm.list_models(f"*{name.split('_')[0]}*")[:5]
            raise SettingError(
                f"cannot make the image backbone {name!r}: {error}",
                where="encode.image_backbone, encode.image_weights",
                rows=near,
                mend="name a timm model; offline, set image_weights to none or to a file or package of weights",
            ) from error
        if weights not in ("none", "hub"):
            pretrained.load(backbone, timm.create_model(name), weights, self.name)
        config = backbone.pretrained_cfg
        self.register_buffer("mean", torch.tensor(config["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).view(1, 3, 1, 1), persistent=False)
        return backbone

    def _measure(self) -> int:
        """The width of the vectors, by encoding one blank image."""
        try:
            with torch.no_grad():
                return int(self.eval()(torch.zeros(1, 3, self.size, self.size, dtype=torch.uint8)).shape[1])
        except Exception as error:
            raise SettingError(
                f"the image backbone {self.name!r} takes no images of {self.size} pixels: {error}",
                where="encode.image_backbone, ingest.image_size",
                mend="choose larger images or another backbone",
            ) from error

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [n, 3, size, size] to [n, width].

        Raises:
            SettingError: the backbone is `given`, which sees no pictures.
        """
        if self.name == GIVEN:
            raise SettingError(
                "image vectors were given, so nothing can encode or tune on pictures",
                where="encode.image_backbone, pretrain.train_backbones",
                mend="leave train_backbones at auto, and ask by text or by an item of the catalogue",
            )
        parts = []
        if self.backbone is not None:
            x = pixels.float() / 255.0
            if self.scaled and self.scaled != self.size:
                x = interpolate(x, size=self.scaled, mode="bicubic", align_corners=False).clamp(0, 1)
            x = (x - self.mean) / self.std
            parts.append(self.backbone(x.contiguous(memory_format=torch.channels_last)))
        if self.handmade is not None:
            parts.append(SCALE * self.handmade(pixels))
        return torch.cat(parts, dim=1)


def augment(pixels: Tensor) -> Tensor:
    """Shift each image by up to an eighth of its side, the border repeated; uint8 [n, 3, s, s] on any device.

    No flips and no colour changes: an arrow's direction and a product's colour mean something.
    """
    n, _, side, _ = pixels.shape
    reach = max(1, side // 8)
    shift = torch.randint(-reach, reach + 1, (2, n, 1), device=pixels.device)
    at = torch.arange(side, device=pixels.device)
    rows, columns = (at + shift[0]).clamp(0, side - 1), (at + shift[1]).clamp(0, side - 1)
    one = torch.arange(n, device=pixels.device)[:, None, None, None]
    channel = torch.arange(3, device=pixels.device)[None, :, None, None]
    return pixels[one, channel, rows[:, None, :, None], columns[:, None, None, :]]
