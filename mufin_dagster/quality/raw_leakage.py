"""Tables of raw_descriptors about leakage: test items that training knows, as they are or nearly so."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
from PIL import Image

from mufin_dagster.quality import raw_descriptors
from mufin_dagster.quality.frames import Source, Table
from mufin_model.catalog.image_store import ImageStore

MOST_PICTURES, SEED = 300_000, 22
"""Pictures hashed, 0.15 to 0.2 ms each; of more, all of the test items and a random sample of the others up to this."""

SIDE, LOW = 32, 8
"""Pixels a picture is reduced to, and lowest frequencies that its hash is of, in both directions."""

FLAT = 4.0
"""Standard deviation of grey values (of 255) below which a picture says too little to be told from others."""

BLOCK = 4096
"""Pictures hashed at once: 16 MB."""


def test_items(source: Source) -> pl.DataFrame:
    """One row a test item: row, id, train_twins (training and validation items of the same text and images)."""
    keyed = (
        raw_descriptors.items_of(source)
        .with_row_index("row")
        .with_columns(pl.col("images").list.sort().cast(pl.List(pl.String)).list.join(" ").fill_null(""))
    )
    twins = (
        keyed.filter(pl.col("split").is_in(["train", "val"]))
        .group_by("text", "images")
        .agg(pl.len().alias("train_twins"))
    )
    return (
        keyed.filter(pl.col("split") == "test")
        .join(twins, on=["text", "images"], how="left", nulls_equal=True, maintain_order="left")
        .select("row", "id", pl.col("train_twins").fill_null(0))
    )


def texts(source: Source) -> pl.DataFrame:
    """One row an item with a text: row, id, split, text."""
    return (
        raw_descriptors.items_of(source)
        .with_row_index("row")
        .filter(pl.col("text").fill_null("") != "")
        .select("row", "id", pl.col("split").cast(pl.String).fill_null(""), "text")
    )


def pictures(source: Source) -> pl.DataFrame:
    """One row an item whose first picture can be told from others: row, id, split, hash (uint64)."""
    owners = (
        raw_descriptors.items_of(source)
        .with_row_index("row")
        .with_columns(pl.col("images").list.first().alias("image"), pl.col("split").cast(pl.String).fill_null(""))
        .filter(pl.col("image").is_not_null())
        .select("row", "id", "split", "image")
    )
    wanted = owners.group_by("image").agg((pl.col("split") == "test").any().alias("test"))
    order = np.random.default_rng(SEED).random(wanted.height)
    wanted = wanted.sort("image").with_columns(order=order).sort("test", "order", descending=[True, False])
    hashes = hash_pictures(raw_descriptors.image_store(source), wanted["image"].head(MOST_PICTURES).sort().to_numpy())
    return owners.join(hashes, on="image", how="inner", maintain_order="left").drop("image")


TABLES: dict[str, Table] = {"test_items": test_items, "texts": texts, "pictures": pictures}


def hash_pictures(store: ImageStore, rows: np.ndarray) -> pl.DataFrame:
    """Perceptual hashes of thumbnails: image, hash (uint64); without those that are flat or do not decode.

    Args:
        store: of the thumbnails.
        rows: of the store, ascending (neighbours lie in one file).
    """
    images, hashes = [np.zeros(0, np.uint32)], [np.zeros(0, np.uint64)]
    for at in range(0, len(rows), BLOCK):
        told = [(row, grey) for row in rows[at : at + BLOCK].tolist() if (grey := _grey(store, row)) is not None]
        if told:
            grey = np.stack([grey for _, grey in told])
            varied = grey.std(axis=(1, 2)) >= FLAT
            images.append(np.array([row for row, _ in told], np.uint32)[varied])
            hashes.append(perceptual_hash(grey[varied]))
    return pl.DataFrame({"image": np.concatenate(images), "hash": np.concatenate(hashes)})


def perceptual_hash(grey: np.ndarray) -> np.ndarray:
    """Signs of the lowest frequencies against their median (pHash): uint64 [n] of pictures uint8 [n, SIDE, SIDE].

    Scaling, compression, brightness and contrast leave it as it is, or nearly.
    """
    frequency, place = np.arange(LOW)[:, None], np.arange(SIDE)[None, :]
    cosines = np.cos(np.pi * frequency * (2 * place + 1) / (2 * SIDE)).astype(np.float32)
    low = (cosines @ grey.astype(np.float32) @ cosines.T).reshape(len(grey), LOW * LOW)
    # The first is the mean brightness, far above all others.
    bits = low > np.median(low[:, 1:], axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def _grey(store: ImageStore, row: int) -> np.ndarray | None:
    try:
        image = Image.open(io.BytesIO(store.bytes(row)))
        image.draft("L", (SIDE, SIDE))  # a JPEG is decoded at the size that is needed
        grey = image if image.mode == "L" else image.convert("L")
        return np.asarray(grey if grey.size == (SIDE, SIDE) else grey.resize((SIDE, SIDE), Image.Resampling.BOX))
    except Exception:  # the rule images_decode reports it
        return None
