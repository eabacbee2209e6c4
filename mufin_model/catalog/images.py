"""Pictures of any kind and size into the thumbnails of the image store."""

from __future__ import annotations

import io
import itertools
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mufin_model.catalog.distrust import MAX_IMAGE_BYTES, Unreadable, in_words
from mufin_model.catalog.image_store import ImageWriter
from mufin_model.catalog.schema import ImageSource
from mufin_model.progress import track

DECODED_AT_ONCE = 256
MAX_PIXELS = 100_000_000
"""Larger pictures are refused undecoded: a few kilobytes can unfold into gigabytes."""
KINDS = ("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "QOI", "TGA", "TIFF", "WEBP")
"""Kinds of pictures that are decoded. Of Pillow's others one starts a program (EPS), the rest are no shop's."""
JPEG_QUALITY = 90
MISSING = "is missing"
"""The reason of an image whose file is not there."""


@dataclass(frozen=True)
class Written:
    """What `write` did.

    Attributes:
        rows: the store's row of each path that decoded; paths with equal thumbnails share one.
        bad: path and reason of each image that is missing or does not decode.
        stored: images in the store.
    """

    rows: dict[str, int]
    bad: dict[str, str]
    stored: int


def write(folder: Path, source: ImageSource, paths: Iterable[str], size: int) -> Written:
    """Decode all images once and write their thumbnails, in the order of the paths' first appearance.

    Args:
        folder: of the store; made.
        source: where the paths lead.
        paths: distinct paths.
        size: side of the thumbnails, in pixels.
    """
    distinct = list(dict.fromkeys(paths))
    rows: dict[str, int] = {}
    bad: dict[str, str] = {}
    # Pillow warns of sizes, which `thumbnail` itself refuses, and of damaged tags, of which nothing is used.
    with warnings.catch_warnings(), ImageWriter(folder, size) as store:
        warnings.filterwarnings("ignore", module="PIL")
        encoded = _encode_all(source.stream(distinct), size)
        for path, data, reason in track(encoded, "images", total=len(distinct)):
            if reason:
                bad[path] = reason
            else:
                rows[path] = store.add(data)
    return Written(rows, bad, len(store))


def bad(source: ImageSource, paths: Iterable[str], size: int) -> dict[str, str]:
    """Path and reason of each image that `write` could not write; nothing is written."""
    distinct = list(dict.fromkeys(paths))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        encoded = _encode_all(source.stream(distinct), size)
        return {path: reason for path, _, reason in track(encoded, "images", total=len(distinct)) if reason}


def thumbnail(data: bytes, size: int) -> Image.Image:
    """Decode one picture into an RGB square of `size` pixels a side.

    Its aspect is kept and it is never enlarged; white pads it on all sides and lies behind transparency.
    Of an animation the first frame is taken; the camera's orientation is applied.

    Raises:
        ValueError: the picture is empty, or has more than MAX_PIXELS or MAX_IMAGE_BYTES.
        Exception: whatever Pillow's decoder raises for damaged data.
    """
    if len(data) > MAX_IMAGE_BYTES:
        raise Unreadable(f"{len(data):,} bytes are too many")
    if not data:
        raise Unreadable("is empty")
    with Image.open(io.BytesIO(data), formats=_kinds()) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise Unreadable(f"{opened.width:,} x {opened.height:,} pixels are too many")
        opened.draft("RGB", (2 * size, 2 * size))  # a large JPEG decodes at a fraction of its size
        picture = _colours(ImageOps.exif_transpose(opened))
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (size, size), "white")
    corner = ((size - picture.width) // 2, (size - picture.height) // 2)
    square.paste(picture, corner, picture.getchannel("A") if picture.mode == "RGBA" else None)
    return square


def encode(picture: Image.Image) -> bytes:
    """A picture as PNG or JPEG, whichever is smaller; equal pictures give equal bytes."""
    png, jpeg = io.BytesIO(), io.BytesIO()
    picture.save(png, "PNG", compress_level=6)
    picture.save(jpeg, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return min(png.getvalue(), jpeg.getvalue(), key=len)


def _colours(picture: Image.Image) -> Image.Image:
    """RGB, or RGBA where it has transparency."""
    if picture.mode in ("I", "I;16", "I;16L", "I;16B", "I;16N", "F"):
        with np.errstate(invalid="ignore"):  # a signalling NaN
            grey = np.nan_to_num(np.asarray(picture, dtype=np.float64))
        if picture.mode != "F" and grey.max(initial=0) > 255:
            grey = grey / 257  # 16 bits a sample
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


@cache
def _kinds() -> tuple[str, ...]:
    """Those of KINDS that this build of Pillow has."""
    Image.init()
    return tuple(kind for kind in KINDS if kind in Image.OPEN)


def _encode_all(stream: Iterable[tuple[str, Callable[[], bytes]]], size: int) -> Iterator[tuple[str, bytes, str]]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        stream = iter(stream)
        # In chunks, as the pool would otherwise drain the stream and hold all images in memory.
        while chunk := list(itertools.islice(stream, DECODED_AT_ONCE)):
            yield from pool.map(partial(_encode_one, size=size), chunk)


def _encode_one(entry: tuple[str, Callable[[], bytes]], size: int) -> tuple[str, bytes, str]:
    path, load = entry
    try:
        return path, encode(thumbnail(load(), size)), ""
    except Exception as error:  # decoders raise anything for damaged data
        return path, b"", _reason(error)


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return MISSING
    if isinstance(error, PermissionError):
        return "may not be read"
    if isinstance(error, Image.UnidentifiedImageError):
        return "is no image of a known kind"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MAX_PIXELS:,} pixels are too many"
    if isinstance(error, Unreadable | MemoryError) or (isinstance(error, OSError) and error.errno):
        return in_words(error)
    return "is cut short or damaged"
