"""Summary tables of raw_descriptors: schema, items, labels, links, splits, references, a sample of images.

Those about leakage are in raw_leakage.py, those about populations in raw_populations.py.
"""

from __future__ import annotations

import io

import numpy as np
import polars as pl

from mufin_dagster.quality.frames import Source, Table
from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.image_store import ImageStore

NOUN = "raw_descriptors"
SAMPLE, SEED = 500, 22

SCHEMA: dict[str, dict[str, str]] = {
    "items.parquet": {"id": "String", "text": "String", "images": "List(UInt32)", "split": "String"},
    "labels.parquet": {"id": "String", "text": "String", "images": "List(UInt32)", "zero_shot": "Boolean"},
    "links.parquet": {"item": "UInt32", "label": "UInt32", "split": "String"},
    "filters.parquet": {"item": "UInt32", "label": "UInt32"},
}


def schema(source: Source) -> pl.DataFrame:
    """One row a required column: file, column, expected and found type."""
    rows = []
    for file, columns in SCHEMA.items():
        path = source.folder(NOUN) / file
        found = pl.read_parquet_schema(path) if path.is_file() else {}
        rows += [(file, column, kind, _kind(found.get(column))) for column, kind in columns.items()]
    return pl.DataFrame(rows, ["file", "column", "expected", "found"], orient="row")


def items(source: Source) -> pl.DataFrame:
    """One row an item: row, id, split, splits (in which its id occurs), foreign_links (of another split than the
    item's), texts (0 or 1), images, descriptors."""
    frame = source.parquet(NOUN, "items.parquet")
    owner = pl.DataFrame(
        {"row": pl.int_range(frame.height, dtype=pl.UInt32, eager=True), "owner": frame["split"].cast(pl.String)}
    )
    foreign = (
        source.parquet(NOUN, "links.parquet")
        # a zero-shot link is a test item's
        .with_columns(pl.col("split").cast(pl.String).replace("zero_shot", "test"))
        .join(owner, left_on="item", right_on="row")
        .filter(pl.col("split").ne_missing(pl.col("owner")))
        .group_by("item")
        .agg(pl.len().alias("foreign_links"))
    )
    return (
        frame.with_row_index("row")
        .with_columns(pl.col("split").cast(pl.String), pl.col("split").n_unique().over("id").alias("splits"))
        .join(foreign, left_on="row", right_on="item", how="left", maintain_order="left")
        .with_columns(pl.col("foreign_links").fill_null(0), *_descriptors())
        .select("row", "id", "split", "splits", "foreign_links", "texts", "images", "descriptors")
    )


def labels(source: Source) -> pl.DataFrame:
    """One row a label: row, id, zero_shot, train_items (training items linked to it), texts, images, descriptors."""
    train = (
        source.parquet(NOUN, "links.parquet")
        .filter(pl.col("split") == "train")
        .group_by("label")
        .agg(pl.col("item").n_unique().alias("train_items"))
    )
    return (
        source.parquet(NOUN, "labels.parquet")
        .with_row_index("row")
        .join(train, left_on="row", right_on="label", how="left", maintain_order="left")
        .with_columns(pl.col("train_items").fill_null(0), *_descriptors())
        .select("row", "id", "zero_shot", "train_items", "texts", "images", "descriptors")
    )


def seen_labels(source: Source) -> pl.DataFrame:
    """`labels` without the zero-shot ones."""
    return labels(source).filter(~pl.col("zero_shot"))


def zero_shot_labels(source: Source) -> pl.DataFrame:
    """`labels`, the zero-shot ones alone."""
    return labels(source).filter(pl.col("zero_shot"))


def links(source: Source) -> pl.DataFrame:
    """One row a split: split, links, repeated (item-label pairs beyond the first of each)."""
    return (
        source.parquet(NOUN, "links.parquet")
        .group_by("split")
        .agg(pl.len().alias("links"), (pl.len() - pl.struct("item", "label").n_unique()).alias("repeated"))
        .sort("split")
    )


def required_splits(source: Source) -> pl.DataFrame:
    """A row for train and one for test: split, linked_items (its items that have links)."""
    return _linked(source, ["train", "test"])


def validation_split(source: Source) -> pl.DataFrame:
    """As `required_splits`, for val."""
    return _linked(source, ["val"])


def references(source: Source) -> pl.DataFrame:
    """One row a column of row numbers: reference, targets (rows there are), largest (-1 if none), dangling."""
    item_table, label_table = source.parquet(NOUN, "items.parquet"), source.parquet(NOUN, "labels.parquet")
    link_table, filter_table = source.parquet(NOUN, "links.parquet"), source.parquet(NOUN, "filters.parquet")
    n_items, n_labels, n_images = item_table.height, label_table.height, len(image_store(source))
    columns = [
        ("links.item", link_table["item"], n_items),
        ("links.label", link_table["label"], n_labels),
        ("filters.item", filter_table["item"], n_items),
        ("filters.label", filter_table["label"], n_labels),
        ("items.images", item_table["images"].explode(empty_as_null=False), n_images),
        ("labels.images", label_table["images"].explode(empty_as_null=False), n_images),
    ]
    rows = []
    for name, column, targets in columns:
        largest = column.max()
        rows.append((name, targets, -1 if largest is None else largest, _dangling(column, targets)))
    return pl.DataFrame(rows, ["reference", "targets", "largest", "dangling"], orient="row")


def images(source: Source) -> pl.DataFrame:
    """One row a sampled image: row, fault ("none", or what is wrong), contrast (brightest minus darkest value)."""
    from PIL import Image

    store = image_store(source)
    chosen = np.random.default_rng(SEED).permutation(len(store))[:SAMPLE]
    declared = (store.size, store.size)
    rows = []
    for row in np.sort(chosen).tolist():
        try:
            image = Image.open(io.BytesIO(store.bytes(row))).convert("RGB")
        except Exception as error:  # Pillow's decoders raise many kinds; each is the image's fault
            rows.append((row, f"{type(error).__name__}: {error}", 255))
            continue
        fault = "none" if image.size == declared else f"declared {declared}, decodes to {image.size}"
        low, high = zip(*image.getextrema(), strict=True)
        rows.append((row, fault, int(max(high)) - int(min(low))))
    return pl.DataFrame(rows, {"row": pl.Int64, "fault": pl.String, "contrast": pl.Int64}, orient="row")


TABLES: dict[str, Table] = {
    "schema": schema,
    "items": items,
    "labels": labels,
    "seen_labels": seen_labels,
    "zero_shot_labels": zero_shot_labels,
    "links": links,
    "required_splits": required_splits,
    "validation_split": validation_split,
    "references": references,
    "images": images,
}


def items_of(source: Source) -> pl.DataFrame:
    """items.parquet."""
    return source.parquet(NOUN, "items.parquet")


def labels_of(source: Source) -> pl.DataFrame:
    """labels.parquet, seen labels first."""
    return source.parquet(NOUN, "labels.parquet")


def catalog(source: Source) -> Catalog:
    """The catalogue as the stages see it."""
    return source.once((NOUN, "catalog"), lambda: Catalog.load(source.folder(NOUN)))


def image_store(source: Source) -> ImageStore:
    """The thumbnails, memory-mapped."""
    path = source.folder(NOUN) / "images"
    return source.once(path, lambda: ImageStore(path))


def _kind(dtype: pl.DataType | None) -> str:
    if dtype is None:
        return "missing"
    # a split may be stored as categories: they read as strings
    return "String" if dtype.base_type() in (pl.Enum, pl.Categorical) else str(dtype)


def _descriptors() -> list[pl.Expr]:
    texts = (pl.col("text").fill_null("") != "").cast(pl.UInt32)
    count = pl.col("images").list.len().fill_null(0)
    return [texts.alias("texts"), count.alias("images"), (texts + count).alias("descriptors")]


def _linked(source: Source, splits: list[str]) -> pl.DataFrame:
    found = (
        source.parquet(NOUN, "links.parquet")
        .group_by(pl.col("split").cast(pl.String))
        .agg(pl.col("item").n_unique().alias("linked_items"))
    )
    return (
        pl.DataFrame({"split": splits})
        .join(found, on="split", how="left")
        .with_columns(pl.col("linked_items").fill_null(0))
    )


def _dangling(column: pl.Series, targets: int) -> int:
    return int((column >= targets).sum()) + column.null_count()
