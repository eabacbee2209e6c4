"""Thumbnails and their store."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mufin_model.catalog import images
from mufin_model.catalog.image_files import ImageFiles
from mufin_model.catalog.image_store import ImageStore
from mufin_model.catalog.images import encode, thumbnail

from .conftest import picture

WHITE = (255, 255, 255)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def test_wide_picture_keeps_its_aspect_between_white_bars() -> None:
    square = thumbnail(picture("blue", (200, 100)), 32)
    assert square.size == (32, 32)
    assert np.all(np.asarray(square)[8:24] == (0, 0, 255))
    assert np.all(np.asarray(square)[[0, 7, 24, 31]] == 255)


def test_small_picture_is_padded_never_enlarged() -> None:
    pixels = np.asarray(thumbnail(picture((1, 2, 3), (1, 1)), 16))
    assert (pixels != 255).any(axis=2).sum() == 1
    assert tuple(pixels[7, 7]) == (1, 2, 3)


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "seen"),
    [
        ("RGBA", (0, 0, 0, 0), "PNG", WHITE),
        ("RGBA", (255, 0, 0, 128), "PNG", (255, 127, 127)),
        ("LA", (0, 0), "PNG", WHITE),
        ("L", 100, "PNG", (100, 100, 100)),
        ("1", 0, "PNG", (0, 0, 0)),
        ("P", 0, "PNG", (0, 0, 0)),
        ("I;16", 65535, "PNG", WHITE),
        ("I;16", 128 * 257, "PNG", (128, 128, 128)),
        ("CMYK", (0, 255, 255, 0), "JPEG", (254, 0, 0)),
        ("RGB", (10, 20, 30), "BMP", (10, 20, 30)),
        ("RGB", (10, 20, 30), "WEBP", (10, 20, 30)),
    ],
)
def test_modes(mode: str, colour: object, kind: str, seen: tuple[int, int, int]) -> None:
    pixel = thumbnail(picture(colour, (40, 40), mode, kind), 16).getpixel((8, 8))
    assert np.abs(np.subtract(pixel, seen)).max() <= 3


def test_palette_with_transparency() -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([200, 0, 0])
    assert thumbnail(saved(image, transparency=0), 8).getpixel((4, 4)) == WHITE


def test_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert thumbnail(data, 8).getpixel((4, 4)) == (255, 0, 0)


def test_camera_orientation_is_applied() -> None:
    image = Image.new("RGB", (20, 10), "black")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter
    pixels = np.asarray(thumbnail(saved(image, "JPEG", exif=exif.tobytes()), 20))
    assert pixels[10, 0].min() > 200
    assert pixels[0, 10].max() < 50


def test_bomb_is_refused_undecoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    with pytest.raises(ValueError, match="40 x 40 pixels are too many"):
        thumbnail(picture(size=(40, 40)), 8)


def test_real_bomb_becomes_a_bad_image(tmp_path: Path) -> None:
    # A PNG header that promises 40,000 x 40,000 pixels.
    data = bytearray(picture())
    data[16:24] = (40_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(bytes(data))
    written = images.write(tmp_path / "images", ImageFiles(tmp_path), ["bomb.png"], 8)
    assert written.rows == {}
    assert "too many" in written.bad["bomb.png"]


def test_smaller_encoding_wins_and_never_varies() -> None:
    flat = Image.new("RGB", (64, 64), "red")
    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    assert encode(flat).startswith(b"\x89PNG")
    assert encode(noisy).startswith(b"\xff\xd8")
    assert encode(noisy) == encode(noisy)


def test_the_store_has_each_distinct_thumbnail_once(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(picture((number, 0, 7)))
    (tmp_path / "twin.png").write_bytes(picture((3, 0, 7)))
    paths = [f"{number}.png" for number in range(5)]
    written = images.write(tmp_path / "images", ImageFiles(tmp_path), [*paths, "twin.png", paths[0]], 8)
    assert written.stored == 5
    assert written.rows["twin.png"] == written.rows["3.png"]
    assert list(written.rows.values()) == [0, 1, 2, 3, 4, 3]
    assert ImageStore(tmp_path / "images").image(2).getpixel((4, 4)) == (2, 0, 7)
