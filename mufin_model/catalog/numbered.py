"""Catalogues whose files name items and labels by row number, as those of the Extreme Classification Repository do.

source = assemble(train, test, labels, links, filters, images)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from mufin_model.catalog.columns import IMAGES, MAX_ID
from mufin_model.catalog.faults import apart
from mufin_model.catalog.lines import SHOWN
from mufin_model.catalog.schema import ImageSource, Source
from mufin_model.catalog.sparse_text import Pairs
from mufin_model.catalog.vectors import ImageVectors
from mufin_model.errors import CatalogError


@dataclass(frozen=True)
class Side:
    """The training items, the test items or the labels.

    Attributes:
        name: 'train', 'test' or 'label', which makes the ids of rows without UIDs.
        file: where the texts are.
        table: id (a UID, or null), text; a row each.
        images: the image paths of each row, or None.
    """

    name: str
    file: Path
    table: pl.DataFrame
    images: pl.Series | None = None

    def rows(self) -> pl.DataFrame:
        """id, text, image_paths."""
        images = (
            pl.Series([[]], dtype=IMAGES).new_from_index(0, self.table.height) if self.images is None else self.images
        )
        number = pl.lit(f"{self.name}:") + pl.int_range(pl.len()).cast(pl.String)
        return self.table.select(id=pl.coalesce("id", number), text="text").with_columns(images.alias("image_paths"))


def assemble(
    train: Side,
    test: Side,
    labels: Side,
    links: tuple[Pairs, Pairs],
    filters: tuple[Pairs | None, Pairs | None],
    images: ImageSource,
    vectors: ImageVectors | None = None,
) -> Source:
    """A catalogue in which ids have taken the place of row numbers.

    Rows are what these formats tell apart, not UIDs: where a UID comes again, its later rows get `#2`, `#3` behind it.

    Args:
        train, test, labels: the rows.
        links: of the training and the test items, rows [items], columns [labels].
        filters: pairs to take out, of either split.
        images: where the image paths lead.
        vectors: the images' ready-made descriptors.

    Raises:
        CatalogError: a matrix is not of as many rows or columns as there are items or labels, or a pair is outside.
    """
    items = pl.concat([side.rows().with_columns(split=pl.lit(side.name)) for side in (train, test)])
    items = items.with_columns(distinct(items["id"]))
    label_table = labels.rows()
    label_table = label_table.with_columns(distinct(label_table["id"]))
    tables = {"items": items, "labels": label_table}
    files = {"items": str(train.file), "labels": str(labels.file)}
    first = 0
    for side, linked, removed in zip((train, test), links, filters, strict=True):
        for name, pairs in ((side.name, linked), (f"filter_{side.name}", removed)):
            if pairs is None:
                continue
            with apart():
                _check(pairs, side, labels)
                tables[name] = pl.DataFrame(
                    {
                        "item_id": items["id"].gather(pl.Series(pairs.rows) + first),
                        "label_id": label_table["id"].gather(pl.Series(pairs.columns)),
                    }
                )
            files[name] = str(pairs.file)
        first += side.table.height
    return Source(tables, images, files, vectors=vectors)


def distinct(ids: pl.Series) -> pl.Series:
    """The ids, shortened to MAX_ID characters, later equal ones with `#2`, `#3` ... behind them."""
    short = pl.DataFrame({"id": ids.str.head(MAX_ID - 12)})
    if short["id"].n_unique() == short.height:
        return short["id"]
    table = short.with_columns(time=pl.col("id").cum_count().over("id"))
    again = pl.col("id") + "#" + pl.col("time").cast(pl.String)
    return table.select(pl.when(pl.col("time") > 1).then(again).otherwise("id").alias("id")).to_series()


def _check(pairs: Pairs, side: Side, labels: Side) -> None:
    height, width = side.table.height, labels.table.height
    if pairs.shape is not None and pairs.shape != (height, width):
        raise CatalogError(
            f"the matrix is of {pairs.shape[0]:,} rows and {pairs.shape[1]:,} columns,"
            f" but there are {height:,} {side.name} items and {width:,} labels",
            where=f"{pairs.file}, line 1",
            rows=[f"{side.file.name}: {height:,} lines", f"{labels.file.name}: {width:,} lines"],
            mend="take the files of one download; one of them may be cut short",
        )
    outside = np.flatnonzero((pairs.rows >= height) | (pairs.columns >= width))
    if len(outside):
        raise CatalogError(
            f"{len(outside):,} pairs are outside the {height:,} {side.name} items and {width:,} labels",
            where=str(pairs.file),
            rows=[f"pair {at}: {pairs.rows[at]} {pairs.columns[at]}" for at in outside[:SHOWN]],
            mend="rows are counted from 0; correct or remove these pairs",
        )
