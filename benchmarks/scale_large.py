"""A catalogue of a shop's size, drawn at random: tables in Parquet, images packed into a folder of Parquet files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mufin_model.catalog.packed import FILE, SCHEMA

SIDE, COARSE = 64, 6
"""Pixels of an image, and of the pattern that is blown up to it: some 1.2 kilobytes a JPEG, all different."""
PART = 20_000
"""Images a file."""
WORDS = 30_000
TEST_SHARE = 0.25


@dataclass(frozen=True)
class Sizes:
    """How much of what."""

    items: int
    labels: int
    links: int
    images: int


def write_tables(folder: Path, sizes: Sizes, kind: str) -> None:
    """The tables alone, in the format `kind`; the pictures that they name are nowhere."""
    _tables(folder, sizes, np.random.default_rng(0))
    for file in folder.glob("*.parquet") if kind != "generic" else ():
        table = pl.read_parquet(file)
        if kind == "jsonl":
            table.write_ndjson(file.with_suffix(".jsonl"))
        else:
            lists = [name for name, dtype in table.schema.items() if dtype == pl.List(pl.String)]
            table.with_columns(pl.col(lists).list.join(";")).write_csv(file.with_suffix(".csv"))
        file.unlink()


def write(folder: Path, sizes: Sizes) -> None:
    """The catalogue. Each label has an image as long as they last, and the items share the rest evenly."""
    rng = np.random.default_rng(0)
    _images(folder / FILE, rng, _tables(folder, sizes, rng))


def _tables(folder: Path, sizes: Sizes, rng: np.random.Generator) -> pl.Series:
    """Write the tables; gives the image paths."""
    folder.mkdir()
    of_labels = min(sizes.labels, sizes.images // 3)
    paths = pl.Series([f"images/{number:07d}.jpg" for number in range(sizes.images)])
    ids = {
        "items": [f"B{row:08d}" for row in range(sizes.items)],
        "labels": [f"L{row:08d}" for row in range(sizes.labels)],
    }
    for name, first, last in (("labels", 0, of_labels), ("items", of_labels, sizes.images)):
        owner = np.sort(np.arange(first, last) % len(ids[name]))
        bags = pl.DataFrame({"row": owner, "image_paths": paths[first:last]})
        bags = bags.group_by("row", maintain_order=True).agg("image_paths")
        table = pl.DataFrame({"id": ids[name], "text": _texts(rng, len(ids[name]))}).with_row_index("row")
        table = table.join(bags.cast({"row": pl.UInt32}), on="row", how="left", maintain_order="left").drop("row")
        table.write_parquet(folder / f"{name}.parquet")
    _links(folder, rng, ids, sizes.links)
    return paths


def _texts(rng: np.random.Generator, count: int) -> list[str]:
    """Titles of 4 to 17 words; some words are frequent."""
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(["".join(rng.choice(letters, n)) for n in rng.integers(3, 10, WORDS)])
    lengths = rng.integers(4, 18, count)
    flat = words[(rng.pareto(0.8, lengths.sum()) * 20).astype(np.int64) % WORDS]
    return [" ".join(part) for part in np.split(flat, np.cumsum(lengths)[:-1])]


def _links(folder: Path, rng: np.random.Generator, ids: dict[str, list[str]], count: int) -> None:
    """train.parquet and test.parquet; some labels have far more items than others."""
    items, labels = len(ids["items"]), len(ids["labels"])
    item = rng.integers(0, items, count + count // 20)
    label = (rng.beta(0.6, 3, len(item)) * labels).astype(np.int64)
    keys = np.unique(item * labels + label)
    keys = np.sort(rng.permutation(keys)[:count])
    links = pl.DataFrame(
        {
            "item_id": pl.Series(ids["items"]).gather(keys // labels),
            "label_id": pl.Series(ids["labels"]).gather(keys % labels),
        }
    )
    test = pl.Series(keys // labels >= round(items * (1 - TEST_SHARE)))
    links.filter(~test).write_parquet(folder / "train.parquet")
    links.filter(test).write_parquet(folder / "test.parquet")


def _images(folder: Path, rng: np.random.Generator, paths: pl.Series) -> None:
    folder.mkdir()
    for start in range(0, len(paths), PART):
        part = paths[start : start + PART]
        patterns = rng.integers(0, 256, (len(part), COARSE, COARSE, 3), dtype=np.uint8)
        table = pa.table([pa.array(part.to_list()), pa.array([_jpeg(pattern) for pattern in patterns])], schema=SCHEMA)
        pq.write_table(table, folder / f"part-{start // PART:05d}.parquet", compression="none", row_group_size=1000)


def _jpeg(pattern: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pattern).resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(out, "JPEG", quality=80)
    return out.getvalue()
