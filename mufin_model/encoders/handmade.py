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


def ink(pixels: Tensor) -> Tensor:
    """How a picture is drawn, whatever it shows: uint8 [n, 3, s, s] to float32 [n, G].

    Shares of ten levels of darkness; margins of what is drawn; lengths of horizontal and vertical strokes; what
    eight erosions leave (the strokes' width); the share of ink; the mean saturation.
    """
    colour = pixels.float()
    dark = 1 - (colour * colour.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1) / 255
    levels = torch.stack([((dark > i / 10) & (dark <= (i + 1) / 10)).float().mean((1, 2)) for i in range(10)], 1)
    drawn, strokes = dark > 0.15, (dark > 0.5).float()
    share = strokes.mean((1, 2)).unsqueeze(1)
    scale = share + 1e-3
    eroded, left = strokes.unsqueeze(1), []
    for _ in range(8):
        left.append(eroded.mean((1, 2, 3)))
        eroded = -torch.nn.functional.max_pool2d(-eroded, 3, 1, 1)
    return torch.cat(
        [
            levels.sqrt(),
            _margins(drawn.any(2)),
            _margins(drawn.any(1)),
            _runs(strokes) / scale,
            _runs(strokes.transpose(1, 2)) / scale,
            torch.stack(left, 1) / scale,
            scale,
            (colour.amax(1) - colour.amin(1)).mean((1, 2)).unsqueeze(1) / 255,
        ],
        dim=1,
    )


def _margins(line: Tensor) -> Tensor:
    """First and last place drawn on, as shares of the side: bool [n, s] to [n, 2]."""
    place = torch.arange(line.shape[1], device=line.device, dtype=torch.float32)
    first = torch.where(line, place, line.shape[1]).amin(1)
    last = torch.where(line, place, -1.0).amax(1)
    return torch.stack([first, last], 1) / line.shape[1]


def _runs(strokes: Tensor, longest: int = 12) -> Tensor:
    """Share of places where a horizontal run of at least 1, 2, .. pixels starts: [n, s, s] to [n, longest]."""
    out, run = [], strokes
    for length in range(1, longest + 1):
        out.append(run.mean((1, 2)) if run.shape[2] else strokes.new_zeros(len(strokes)))
        run = run[:, :, 1:] * strokes[:, :, length:] if run.shape[2] > 1 else run[:, :, :0]
    return torch.stack(out, 1)
