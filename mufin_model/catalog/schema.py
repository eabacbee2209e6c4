"""The generic tables of a catalogue: their columns, and every check that a user's mistake can fail.

A reader hands over a `Source` (tables as they stand, and where the images are); `check` proves that it
hangs together and gives it back with rows in place of ids. All checks are vectorised; each error names
the file, the column, the first offending rows (counted from 0) and the mend.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from mufin_model.errors import CatalogError

IMAGES = pl.List(pl.String)
"""The type of `image_paths`."""

COLUMNS: dict[str, dict[str, pl.DataType | type[pl.DataType]]] = {
    "items": {"id": pl.String, "text": pl.String, "image_paths": IMAGES, "split": pl.String},
    "labels": {"id": pl.String, "text": pl.String, "image_paths": IMAGES},
    "train": {"item_id": pl.String, "label_id": pl.String},
    "test": {"item_id": pl.String, "label_id": pl.String},
    "filter_train": {"item_id": pl.String, "label_id": pl.String},
    "filter_test": {"item_id": pl.String, "label_id": pl.String},
    "zeroshot_labels": {"id": pl.String, "text": pl.String, "image_paths": IMAGES},
    "test_zeroshot": {"item_id": pl.String, "label_id": pl.String},
}
"""Each table's columns and their types; further columns are ignored."""

OPTIONAL_COLUMNS = {("items", "split"), ("labels", "image_paths"), ("zeroshot_labels", "image_paths")}
REQUIRED = ("items", "labels", "train", "test")
"""The tables that every catalogue has."""


class ImageSource(Protocol):
    """Where a catalogue keeps its images."""

    def stream(self, paths: Iterable[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Each path with a function that reads its bytes (and may raise OSError), in an order that never changes."""
        ...


@dataclass(frozen=True)
class Source:
    """A catalogue as a reader found it.

    Attributes:
        tables: by the names of COLUMNS; REQUIRED ones are all there.
        images: where the image paths lead.
        files: the file of each table, for error messages.
    """

    tables: dict[str, pl.DataFrame]
    images: ImageSource
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tables:
    """A catalogue that passed every check.

    Attributes:
        items: id, text (never null), image_paths (never null), split 'train' or 'test'.
        labels: id, text, image_paths, zero_shot; seen labels first.
        links: item u32, label u32, split 'train', 'test' or 'zero_shot'; distinct, in order of item and label.
        filters: item u32, label u32; distinct, in the same order.
        duplicate_links: pairs that were given more than once.
    """

    items: pl.DataFrame
    labels: pl.DataFrame
    links: pl.DataFrame
    filters: pl.DataFrame
    duplicate_links: int


def check(source: Source) -> Tables:
    """Check all tables and the links between them.

    Raises:
        CatalogError: the first rule that is broken.
    """
    tables = {name: conform(table, name, _file(source, name)) for name, table in source.tables.items()}
    for name in ("items", "labels", "zeroshot_labels"):
        if name in tables:
            _check_ids(tables[name], _file(source, name))
    items, labels = tables["items"], _all_labels(tables, source)
    item_rows, label_rows = _numbered(items, "item"), _numbered(labels, "label")
    n_seen = tables["labels"].height
    pairs: dict[str, pl.DataFrame] = {}
    for name in ("train", "test", "test_zeroshot", "filter_train", "filter_test"):
        if name in tables:
            if name in ("train", "test"):
                allowed = label_rows.filter(pl.col("label") < n_seen)
            else:
                allowed = label_rows.filter(pl.col("label") >= n_seen) if name == "test_zeroshot" else label_rows
            pairs[name] = _resolve(tables[name], _file(source, name), item_rows, allowed, source, name)
    for name in ("train", "test"):
        if pairs[name].is_empty():
            raise CatalogError(
                f"the {name} split is empty",
                where=_file(source, name),
                mend=f"give at least one {name} item a label",
            )
    items = _split(items, pairs, source)
    links = [
        pairs[name].with_columns(split=pl.lit(split))
        for name, split in (("train", "train"), ("test", "test"), ("test_zeroshot", "zero_shot"))
        if name in pairs
    ]
    together = pl.concat(links)
    distinct = together.unique(["item", "label"]).sort("item", "label")
    none = pl.DataFrame(schema={"item": pl.UInt32, "label": pl.UInt32})
    filters = pl.concat([none, *(pairs[name] for name in ("filter_train", "filter_test") if name in pairs)])
    return Tables(items, labels, distinct, filters.unique().sort("item", "label"), together.height - distinct.height)


def conform(table: pl.DataFrame, name: str, file: str) -> pl.DataFrame:
    """The columns of COLUMNS[name] in their types, nulls of text and images replaced by empty ones.

    Raises:
        CatalogError: a column is missing, or of a type that does not convert without loss.
    """
    series = []
    for column, dtype in COLUMNS[name].items():
        if column not in table.columns:
            if (name, column) not in OPTIONAL_COLUMNS:
                raise _missing_column(table, column, file)
            if column == "image_paths":
                series.append(pl.Series(column, [[]] * table.height, dtype=IMAGES))
            continue
        series.append(_cast(table[column], dtype, file))
    frame = pl.DataFrame(series)
    if "text" in frame.columns:
        frame = frame.with_columns(pl.col("text").fill_null(""))
    if "image_paths" in frame.columns:
        frame = frame.with_columns(pl.col("image_paths").fill_null([]).list.drop_nulls())
    return frame


def offending(frame: pl.DataFrame, bad: pl.Series, *columns: str) -> list[str]:
    """The rows where `bad` is true, as text: `row 3: item_id='a', label_id='b'`."""
    rows = frame.with_row_index("_row").filter(bad).select("_row", *columns)
    return [
        f"row {row}: " + ", ".join(f"{column}={value!r}" for column, value in zip(columns, values, strict=True))
        for row, *values in rows.iter_rows()
    ]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name most like `word`, if any is like it."""
    lowered = {name.lower(): name for name in known}
    match = difflib.get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.5)
    match += [name for name in lowered if word.lower() in re.split(r"[^a-z0-9]+", name)]  # item_id for id
    return lowered[match[0]] if match else None


def _file(source: Source, name: str) -> str:
    return source.files.get(name, name)


def _missing_column(table: pl.DataFrame, column: str, file: str) -> CatalogError:
    near = nearest(column, table.columns)
    return CatalogError(
        f"column {column!r} is missing",
        where=f"{file}, column {column}",
        rows=[f"has: {', '.join(table.columns) or 'no columns'}"],
        mend=f"rename {near!r} to {column!r}" if near else f"add the column {column!r}",
    )


def _cast(series: pl.Series, dtype: pl.DataType | type[pl.DataType], file: str) -> pl.Series:
    have, name = series.dtype, series.name
    same = have == dtype or have == pl.Null
    if dtype == pl.String:
        same = same or isinstance(have, pl.Categorical | pl.Enum)
    else:
        inner = have.inner if isinstance(have, pl.List | pl.Array) else None
        same = same or inner in (pl.String, pl.Null)
    if not same:
        want = "strings" if dtype == pl.String else "lists of strings"
        raise CatalogError(
            f"column {name!r} holds {have}, not {want}",
            where=f"{file}, column {name}",
            rows=[f"row {row}: {value!r}" for row, value in enumerate(series.head(3).to_list())],
            mend=f"write {name!r} as {want}",
        )
    return series.cast(dtype)


def _check_ids(table: pl.DataFrame, file: str) -> None:
    empty = table["id"].fill_null("").str.strip_chars() == ""
    if empty.any():
        raise CatalogError(
            f"{empty.sum():,} rows have no id",
            where=f"{file}, column id",
            rows=offending(table, empty, "id", "text"),
            mend="give each row an id, or remove it",
        )
    if table["id"].n_unique() < table.height:
        repeated = table["id"].is_duplicated()
        raise CatalogError(
            f"{table.filter(repeated)['id'].n_unique():,} ids occur more than once",
            where=f"{file}, column id",
            rows=offending(table, repeated, "id"),
            mend="keep one row for each id",
        )


def _all_labels(tables: dict[str, pl.DataFrame], source: Source) -> pl.DataFrame:
    """Seen labels, then zero-shot ones."""
    seen = tables["labels"].with_columns(zero_shot=pl.lit(False))
    if seen.is_empty():
        raise CatalogError("there are no labels", where=_file(source, "labels"), mend="add the labels to predict")
    if "zeroshot_labels" not in tables:
        if "test_zeroshot" in tables and not tables["test_zeroshot"].is_empty():
            raise CatalogError(
                "there are zero-shot links but no zero-shot labels",
                where=_file(source, "test_zeroshot"),
                mend="add zeroshot_labels.parquet, or remove this file",
            )
        return seen
    unseen = tables["zeroshot_labels"].with_columns(zero_shot=pl.lit(True))
    both = unseen["id"].is_in(seen["id"].implode())
    if both.any():
        raise CatalogError(
            f"{both.sum():,} labels are both seen and zero-shot",
            where=f"{_file(source, 'zeroshot_labels')}, column id",
            rows=offending(unseen, both, "id"),
            mend=f"remove them here or from {_file(source, 'labels')}",
        )
    return pl.concat([seen, unseen])


def _numbered(table: pl.DataFrame, name: str) -> pl.DataFrame:
    return table.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias(name), pl.col("id").alias(f"{name}_id"))


def _resolve(
    links: pl.DataFrame, file: str, items: pl.DataFrame, labels: pl.DataFrame, source: Source, name: str
) -> pl.DataFrame:
    """Links by row: item u32, label u32."""
    rows = links.join(items, on="item_id", how="left", maintain_order="left")
    rows = rows.join(labels, on="label_id", how="left", maintain_order="left")
    of_label = "zeroshot_labels" if name == "test_zeroshot" else "labels"
    for column, of in (("item", "items"), ("label", of_label)):
        unknown = rows[column].is_null()
        if unknown.any():
            ids = links.filter(unknown)[f"{column}_id"].n_unique()
            raise CatalogError(
                f"{unknown.sum():,} links lead to {ids:,} unknown {column} ids",
                where=f"{file}, column {column}_id",
                rows=offending(links, unknown, "item_id", "label_id"),
                mend=f"add these ids to {_file(source, of)}, or remove the links",
            )
    return rows.select("item", "label")


def _split(items: pl.DataFrame, pairs: dict[str, pl.DataFrame], source: Source) -> pl.DataFrame:
    """Items with their split, as given or as their links show it; both must agree."""
    row = pl.int_range(items.height, dtype=pl.UInt32, eager=True)
    in_train = row.is_in(pairs["train"]["item"].unique().implode())
    tested = [pairs[name]["item"] for name in ("test", "test_zeroshot") if name in pairs]
    in_test = row.is_in(pl.concat(tested).unique().implode())
    if "split" in items.columns:
        wrong = ~items["split"].is_in(["train", "test"]).fill_null(False)
        if wrong.any():
            raise CatalogError(
                f"{wrong.sum():,} items are of no known split",
                where=f"{_file(source, 'items')}, column split",
                rows=offending(items, wrong, "id", "split"),
                mend="write 'train' or 'test', or remove the column (the links then tell)",
            )
        split = items["split"]
    else:
        # An item without any link can still lend its text and images to training.
        split = pl.select(pl.when(in_test).then(pl.lit("test")).otherwise(pl.lit("train"))).to_series()
    for name, linked, other in (("train", in_train, "test"), ("test", in_test, "train")):
        leak = linked & (split == other)
        if leak.any():
            file = _file(source, name)
            raise CatalogError(
                f"{leak.sum():,} {other} items have links in the {name} split",
                where=f"{file}, column item_id",
                rows=offending(items, leak, "id"),
                mend=f"remove their links from {file}, or make them {name} items",
            )
    return items.with_columns(split.alias("split"))
