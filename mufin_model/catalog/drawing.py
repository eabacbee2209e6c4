"""Pictures of the demo's products, drawn: a silhouette for the category, its colour and its pattern."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image, ImageChops, ImageDraw

SIDE = 64
"""Side of a picture, in pixels."""
_FINE = 2 * SIDE
_NOISE = 5.0
"""Standard deviation of the sensor's noise, in grey levels of 255."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (204, 44, 48),
    "orange": (238, 138, 40),
    "yellow": (236, 208, 58),
    "green": (64, 152, 74),
    "turquoise": (58, 178, 182),
    "blue": (52, 88, 190),
    "purple": (134, 64, 166),
    "brown": (122, 80, 52),
}
PATTERNS = ("plain", "striped", "dotted", "checked")

Box = tuple[float, float, float, float]

# Each silhouette: primitives in a unit square, ("polygon", x0, y0, x1, y1, ...) or another shape with its box.
SILHOUETTES: dict[str, list[tuple[str, tuple[float, ...]]]] = {
    "mug": [("rectangle", (0.18, 0.2, 0.68, 0.86)), ("ring", (0.56, 0.32, 0.92, 0.7))],
    "bowl": [("half", (0.06, 0.02, 0.94, 0.9)), ("rectangle", (0.36, 0.86, 0.64, 0.94))],
    "vase": [
        ("ellipse", (0.2, 0.36, 0.8, 0.96)),
        ("polygon", (0.4, 0.5, 0.4, 0.2, 0.3, 0.05, 0.7, 0.05, 0.6, 0.2, 0.6, 0.5)),
    ],
    "plate": [("ellipse", (0.04, 0.04, 0.96, 0.96))],
    "lamp": [
        ("polygon", (0.32, 0.06, 0.68, 0.06, 0.9, 0.5, 0.1, 0.5)),
        ("rectangle", (0.46, 0.5, 0.54, 0.86)),
        ("rectangle", (0.3, 0.86, 0.7, 0.95)),
    ],
    "cushion": [
        ("polygon", (0.05, 0.05, 0.5, 0.14, 0.95, 0.05, 0.86, 0.5, 0.95, 0.95, 0.5, 0.86, 0.05, 0.95, 0.14, 0.5))
    ],
    "rug": [("rectangle", (0.02, 0.26, 0.98, 0.76))],
    "curtain": [
        (
            "polygon",
            (
                0.1,
                0.04,
                0.9,
                0.04,
                0.8,
                0.5,
                0.94,
                0.96,
                0.62,
                0.96,
                0.56,
                0.3,
                0.44,
                0.3,
                0.38,
                0.96,
                0.06,
                0.96,
                0.2,
                0.5,
            ),
        )
    ],
    "chair": [
        ("rectangle", (0.2, 0.04, 0.34, 0.96)),
        ("rectangle", (0.2, 0.5, 0.84, 0.62)),
        ("rectangle", (0.72, 0.5, 0.84, 0.96)),
        ("rectangle", (0.2, 0.1, 0.48, 0.4)),
    ],
    "table": [
        ("rectangle", (0.04, 0.28, 0.96, 0.44)),
        ("rectangle", (0.12, 0.4, 0.24, 0.92)),
        ("rectangle", (0.76, 0.4, 0.88, 0.92)),
    ],
    "basket": [("polygon", (0.08, 0.42, 0.92, 0.42, 0.78, 0.94, 0.22, 0.94)), ("ring", (0.2, 0.06, 0.8, 0.78))],
    "clock": [
        ("ellipse", (0.12, 0.12, 0.88, 0.88)),
        ("rectangle", (0.42, 0.02, 0.58, 0.14)),
        ("rectangle", (0.2, 0.84, 0.32, 0.98)),
        ("rectangle", (0.68, 0.84, 0.8, 0.98)),
    ],
}
SHAPES: dict[str, tuple[float, float]] = {"regular": (1.0, 1.0), "slim": (0.72, 1.0), "low": (1.0, 0.72)}
"""Width and height of each shape, as a share of the regular one."""


def draw(category: str, shape: str, colour: str, pattern: str, rng: np.random.Generator) -> bytes:
    """One view of a product, as a JPEG of SIDE x SIDE pixels.

    Position, size, turn, tint and pattern's phase vary with `rng`; equal draws give equal bytes.
    """
    mask = _silhouette(category, shape, rng)
    tint = np.clip(np.array(COLOURS[colour]) + rng.normal(0, 8, 3), 0, 255)
    light = tuple(int(v) for v in 255 - 0.42 * (255 - tint))
    body = _pattern(pattern, tuple(int(v) for v in tint), light, rng)
    back = tuple(int(v) for v in rng.integers(238, 256, 3))
    picture = Image.composite(body, Image.new("RGB", body.size, back), mask)
    turned = picture.rotate(float(rng.normal(0, 7)), Image.Resampling.BILINEAR, fillcolor=back)
    small = np.asarray(turned.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32)
    small = small + rng.normal(0, _NOISE, small.shape[:2])[:, :, None].astype(np.float32)
    out = io.BytesIO()
    Image.fromarray(small.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=88)
    return out.getvalue()


def _silhouette(category: str, shape: str, rng: np.random.Generator) -> Image.Image:
    """Where the product is: 255 inside, at twice the final size."""
    wide, high = (np.array(SHAPES[shape]) * rng.uniform(0.62, 0.84) * _FINE).tolist()
    left = (_FINE - wide) / 2 + rng.normal(0, 0.03) * _FINE
    top = (_FINE - high) / 2 + rng.normal(0, 0.03) * _FINE
    mask = Image.new("L", (_FINE, _FINE))
    pen = ImageDraw.Draw(mask)
    for kind, unit in SILHOUETTES[category]:
        points = [left + v * wide if i % 2 == 0 else top + v * high for i, v in enumerate(unit)]
        if kind == "polygon":
            pen.polygon(points, fill=255)
        elif kind == "rectangle":
            pen.rounded_rectangle(points, radius=4, fill=255)
        elif kind == "ellipse":
            pen.ellipse(points, fill=255)
        elif kind == "half":
            pen.chord(points, 0, 180, fill=255)
        else:
            pen.ellipse(points, outline=255, width=8)
    return mask


def _pattern(pattern: str, dark: tuple[int, ...], light: tuple[int, ...], rng: np.random.Generator) -> Image.Image:
    """The product's surface, without end: dark ground, the pattern on it in a lighter tint."""
    body = Image.new("RGB", (_FINE, _FINE), dark)
    if pattern == "plain":
        return body
    step = int(rng.integers(15, 20))
    phase = int(rng.integers(step))
    marks = Image.new("L", body.size)
    pen = ImageDraw.Draw(marks)
    places = range(phase - step, _FINE, step)
    if pattern == "dotted":
        radius = step * 0.3
        for row, y in enumerate(places):
            for x in places:
                x_ = x + (row % 2) * step / 2
                pen.ellipse((x_ - radius, y - radius, x_ + radius, y + radius), fill=255)
    else:
        for x in places:
            pen.rectangle((x, 0, x + math.ceil(step * 0.45), _FINE), fill=255)
        if pattern == "checked":
            marks = ImageChops.logical_xor(marks.convert("1"), marks.rotate(90).convert("1")).convert("L")
    body.paste(light, mask=marks)
    return body
