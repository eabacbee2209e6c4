"""Odd and damaged pictures: refused ones with the reason, accepted ones with the rule that holds for them."""

from __future__ import annotations

import io
import pickle
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from mufin_model.catalog.catalog import Catalog

from .conftest import picture

WHITE = (255, 255, 255)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def noise(kind: str) -> bytes:
    return saved(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)), kind)


def of_size(width: int, height: int) -> bytes:
    """A PNG whose header promises so many pixels."""
    data = bytearray(picture())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def text_bomb() -> bytes:
    """A PNG whose compressed comment unfolds to 128 MB."""
    body = b"zTXtComment\0\0" + zlib.compress(bytes(2**27), 9)
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    data = picture()
    return data[:33] + chunk + data[33:]


def palette() -> bytes:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([200, 0, 0])
    return saved(image, transparency=0)


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)


def turned() -> bytes:
    image = Image.new("RGB", (16, 16), "white")
    image.paste("black", (0, 0, 16, 8))  # the upper half, which the camera held to the right
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(image, "PNG", exif=exif.tobytes())


def at(colour: tuple[int, int, int], place: tuple[int, int] = (8, 8)) -> Callable[[Catalog], bool]:
    """Whether the first item's thumbnail (16 x 16) has this colour, up to JPEG's rounding."""

    def seen(catalog: Catalog) -> bool:
        pixel = catalog.images.image(catalog.items["images"][0][0]).getpixel(place)
        return bool(np.abs(np.subtract(pixel, colour)).max() <= 4)

    return seen


UNKNOWN = "is no image of a known kind"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(x) run\nshowpage\n"

REFUSED: list[tuple[str, bytes, str]] = [
    ("no bytes", b"", "is empty"),
    ("no image", b"hello", UNKNOWN),
    ("a pickle", pickle.dumps({"a": 1}), UNKNOWN),
    ("SVG, a picture that is a program", b"<svg xmlns='http://www.w3.org/2000/svg'/>", UNKNOWN),
    ("EPS, a picture that is a program", EPS, UNKNOWN),
    ("a PNG cut short", noise("PNG")[:2000], "is cut short or damaged"),
    ("a JPEG cut short", noise("JPEG")[:1200], "is cut short or damaged"),
    ("a GIF cut short", noise("GIF")[:900], "is cut short or damaged"),
    ("a WebP cut short", noise("WEBP")[:300], "is cut short or damaged"),
    ("40,000 x 40,000 pixels in 100 bytes", of_size(40_000, 40_000), "more than # pixels are too many"),
    ("10,001 x 10,000 pixels", of_size(10_001, 10_000), "# x # pixels are too many"),
    ("a PNG of no width", of_size(0, 8), UNKNOWN),
    ("a comment that unfolds into 128 MB", text_bomb(), "is cut short or damaged"),
]

SHOWN: list[tuple[str, bytes, str, Callable[[Catalog], bool]]] = [
    ("one pixel", picture((9, 8, 7), (1, 1)), "never enlarged", at((9, 8, 7), (7, 7))),
    ("1 x 5,000 pixels", picture((9, 8, 7), (1, 5000)), "its aspect is kept", at((9, 8, 7), (7, 0))),
    ("CMYK", picture((0, 255, 255, 0), (16, 16), "CMYK", "JPEG"), "as RGB", at((254, 0, 0))),
    ("16 bits a sample", picture(128 * 257, (16, 16), "I;16"), "as 8 bits", at((128, 128, 128))),
    ("floating point", picture(64.0, (16, 16), "F", "TIFF"), "as grey from 0 to 255", at((64, 64, 64))),
    ("floating point, not a number", picture(float("nan"), (16, 16), "F", "TIFF"), "as black", at((0, 0, 0))),
    ("a palette with transparency", palette(), "on white", at(WHITE)),
    ("full transparency", picture((0, 0, 0, 0), (16, 16), "RGBA"), "on white", at(WHITE)),
    ("an animated GIF", animated("GIF"), "its first frame", at((255, 0, 0))),
    ("an animated WebP", animated("WEBP"), "its first frame", at((255, 0, 0))),
    ("turned by the camera", turned(), "turned upright", at((0, 0, 0), (12, 8))),
    ("a JPEG called .png", picture("red", (16, 16), "RGB", "JPEG"), "known by its bytes", at((254, 0, 0))),
    ("bytes after its end", picture("red", (16, 16)) + b"x" * 1000, "left out", at((255, 0, 0))),
]
