"""E_V: a timm backbone from stored thumbnails to one vector an image (paper, section 3; MUFIN used ViT-B/32)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mufin_model.errors import SettingError


class ImageEncoder(nn.Module):
    """A timm backbone with its head removed.

    Args:
        name: any timm model.
        weights: "none", "hub" or the path of a .safetensors state dict.
        size: side of the square input, pixels.

    Raises:
        SettingError: timm knows no such model, or the weights cannot be had.
    """

    def __init__(self, name: str, weights: str, size: int) -> None:
        # Imported here: timm takes seven seconds, and most stages never see an image.
        import timm

        super().__init__()
        self.name, self.size = name, size
        options: dict[str, Any] = {"num_classes": 0, "pretrained": weights == "hub"}
        try:
            try:
                # Vision transformers fix their grid by the image's size; convolutional networks refuse the option.
                self.backbone = timm.create_model(name, img_size=size, **options)
            except TypeError:
                self.backbone = timm.create_model(name, **options)
        except Exception as error:
            near = timm.list_models(f"*{name.split('_')[0]}*")[:5]
            raise SettingError(
                f"cannot make the image backbone {name!r}: {error}",
                where="encode.image_backbone, encode.image_weights",
                rows=near,
                mend="name a timm model; offline, set image_weights to none or a .safetensors path",
            ) from error
        if weights not in ("none", "hub"):
            self._load(Path(weights))
        config = self.backbone.pretrained_cfg
        self.register_buffer("mean", torch.tensor(config["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config["std"]).view(1, 3, 1, 1), persistent=False)
        self.width: int = self.backbone.num_features
        with torch.no_grad():
            self.width = self.eval()(torch.zeros(1, 3, size, size, dtype=torch.uint8)).shape[1]

    def _load(self, path: Path) -> None:
        try:
            state = load_file(path)
        except Exception as error:
            raise SettingError(f"cannot read image weights: {error}", where=f"encode.image_weights, {path}") from error
        missing, _ = self.backbone.load_state_dict(state, strict=False)
        if missing:
            raise SettingError(
                f"these weights do not fit {self.name}", where=str(path), rows=missing, mend="name their model"
            )

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [n, 3, size, size] to [n, width]."""
        x = (pixels.float() / 255.0 - self.mean) / self.std
        return self.backbone(x.contiguous(memory_format=torch.channels_last))


def augment(pixels: Tensor) -> Tensor:
    """Shift each image by up to an eighth of its side, the border repeated; uint8 [n, 3, s, s] on any device.

    No flips and no colour changes: an arrow's direction and a product's colour mean something.
    """
    n, _, side, _ = pixels.shape
    reach = max(1, side // 8)
    shift = torch.randint(-reach, reach + 1, (2, n, 1)).to(pixels.device)
    at = torch.arange(side, device=pixels.device)
    rows, columns = (at + shift[0]).clamp(0, side - 1), (at + shift[1]).clamp(0, side - 1)
    one = torch.arange(n, device=pixels.device)[:, None, None, None]
    channel = torch.arange(3, device=pixels.device)[None, :, None, None]
    return pixels[one, channel, rows[:, None, :, None], columns[:, None, None, :]]
