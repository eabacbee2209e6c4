"""Hand-made picture features: colours, a grey thumbnail, directions of edges. No weights, so nothing to train or fetch.

They serve as an image backbone of their own (`encode.image_backbone: handmade`, or beside a timm model as in
`resnet10t+handmade`) and as the image baseline of the report.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, normalize

THUMBNAIL = 16
CELLS = 8
DIRECTIONS = 9
LEVELS = 4
WIDTH = LEVELS**3 + THUMBNAIL**2 + CELLS**2 * DIRECTIONS


class Handmade(nn.Module):
    """uint8 [n, 3, s, s] to float32 [n, WIDTH]: three blocks, each of unit length.

    A colour histogram (4 x 4 x 4), a centred grey thumbnail (16 x 16), and histograms of gradient directions
    (9 unsigned directions in 8 x 8 cells; Dalal and Triggs, CVPR 2005, without overlapping blocks).
    """

    luma: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("luma", torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        n = len(pixels)
        code = (pixels // (256 // LEVELS)).long()
        bins = ((code[:, 0] * LEVELS + code[:, 1]) * LEVELS + code[:, 2]).flatten(1)
        colour = pixels.new_zeros(n, LEVELS**3, dtype=torch.float32)
        colour.scatter_add_(1, bins, torch.ones_like(bins, dtype=torch.float32))
        grey = (pixels.float() * self.luma).sum(1) / 255.0
        small = adaptive_avg_pool2d(grey.unsqueeze(1), THUMBNAIL).flatten(1)
        return torch.cat(
            [
                normalize(colour.sqrt(), dim=1),
                normalize(small - small.mean(1, keepdim=True), dim=1),
                normalize(self._edges(grey).sqrt(), dim=1),
            ],
            dim=1,
        )

    @staticmethod
    def _edges(grey: Tensor) -> Tensor:
        """Strength of edges by cell and direction: grey [n, s, s] to [n, CELLS * CELLS * DIRECTIONS]."""
        n, side, _ = grey.shape
        padded = torch.nn.functional.pad(grey.unsqueeze(1), [1, 1, 1, 1], mode="replicate").squeeze(1)
        down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
        right = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
        direction = (torch.atan2(down, right) % torch.pi / torch.pi * DIRECTIONS).long().clamp(max=DIRECTIONS - 1)
        cell = torch.arange(side, device=grey.device) * CELLS // side
        place = (cell[:, None] * CELLS + cell) * DIRECTIONS + direction
        edges = grey.new_zeros(n, CELLS**2 * DIRECTIONS)
        return edges.scatter_add_(1, place.flatten(1), torch.hypot(down, right).flatten(1))
