"""Each table of a catalogue by itself: its columns, their types, its ids and its texts.

Texts are cleaned, never refused; ids and image paths are refused, never changed (docs/bad-input.md).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import partial

import polars as pl

from mufin_model.catalog.faults import all_of, apart
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
DESCRIBED = ("items", "labels", "zeroshot_labels")
"""The tables whose rows have ids, texts and images."""

MAX_ID = 1_000
"""Characters of an id or an image path at most; file systems know no longer names, and reports show them."""
MAX_TEXT = 32_768
"""Characters of a text at most; the rest is cut. The encoders read some hundred words of it."""
MAX_COLUMN = 8 * 2**30
"""Bytes of a column of strings at most. A dictionary of one long text can stand for more in a few kilobytes."""

OFFENDING = 10_000
"""Rows that an error lists at most; it says how many there are."""

# Control characters but tab and line ends, of both blocks (U+0080 to U+009F come of a wrongly guessed encoding).
_CONTROL = r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F]"
# Marks, embeddings, overrides and isolates: they turn the reading order, also of what stands beside them on a page.
_BIDI = r"[\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]"
_UNSEEN = rf"[\t\n\r]|{_CONTROL}|{_BIDI}"


def conform(table: pl.DataFrame, name: str, file: str) -> pl.DataFrame:
    """The columns of COLUMNS[name] in their types, nulls of text and images replaced by empty ones.

    Raises:
        CatalogError: a column is missing, of a type that does not convert without loss, or unfolds into gigabytes.
    """
    wanted = {
        column: dtype
        for column, dtype in COLUMNS[name].items()
        if column in table.columns or (name, column) not in OPTIONAL_COLUMNS
    }
    series = all_of({column: partial(_column, table, column, dtype, file) for column, dtype in wanted.items()})
    frame = pl.DataFrame(list(series.values()))
    if "text" in frame.columns:
        frame = frame.with_columns(pl.col("text").fill_null(""))
    if "image_paths" in frame.columns:
        frame = frame.with_columns(pl.col("image_paths").fill_null([]).list.drop_nulls())
    elif "image_paths" in COLUMNS[name]:
        frame = frame.with_columns(pl.lit([], IMAGES).alias("image_paths"))
    return frame


def clean_texts(table: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The table with its texts cut at MAX_TEXT, control characters as spaces, direction marks gone.

    Returns:
        the table, and how many of its texts were changed.
    """
    text = table["text"]
    odd = (text.str.len_chars() > MAX_TEXT) | text.str.contains(f"{_CONTROL}|{_BIDI}")
    if not odd.any():
        return table, 0
    cleaned = pl.col("text").str.head(MAX_TEXT).str.replace_all(_CONTROL, " ").str.replace_all(_BIDI, "")
    return table.with_columns(text=pl.when(odd).then(cleaned).otherwise("text")), int(odd.sum())


def check_ids(table: pl.DataFrame, file: str) -> None:
    """Check the ids and image paths of items or labels.

    Raises:
        CatalogError: an id is missing, given twice, too long or holds what no reader sees; or a path is too long.
    """
    ids, where = table["id"], f"{file}, column id"
    empty = ids.fill_null("").str.strip_chars() == ""
    what, shown = f"{empty.sum():,} rows have no id", [column for column in ("id", "text") if column in table.columns]
    refuse(table, empty, shown, what, where, "give each row an id, or remove it")
    long = ids.str.len_chars() > MAX_ID
    what = f"{long.sum():,} ids have more than {MAX_ID:,} characters"
    refuse(table, long, ["id"], what, where, "shorten them here and in the links")
    unseen = ids.str.contains(_UNSEEN)
    what = f"{unseen.sum():,} ids hold line ends, control characters or direction marks"
    refuse(table, unseen, ["id"], what, where, "remove them here and in the links")
    twice = ids.is_duplicated() & ~empty
    what = f"{ids.filter(twice).n_unique():,} ids occur more than once"
    refuse(table, twice, ["id"], what, where, "keep one row for each id")
    long = table["image_paths"].list.eval(pl.element().str.len_chars() > MAX_ID).list.any().fill_null(False)
    what = f"{long.sum():,} rows have image paths of more than {MAX_ID:,} characters"
    refuse(table, long, ["id"], what, f"{file}, column image_paths", "shorten them")


def refuse(table: pl.DataFrame, bad: pl.Series, shown: Iterable[str], what: str, where: str, mend: str) -> None:
    """Go on only where no row is bad, or faults are gathered.

    Args:
        table: the rows.
        bad: true where one is; nulls are not.
        shown: columns that the error tells of them.
        what, where, mend: of the error.

    Raises:
        CatalogError: a row is bad.
    """
    if bad.any():
        with apart():
            raise CatalogError(what, where=where, rows=offending(table, bad, *shown), mend=mend)


def offending(frame: pl.DataFrame, bad: pl.Series, *columns: str) -> list[str]:
    """The rows where `bad` is true, the first OFFENDING of them, as text: `row 3: item_id='a', label_id='b'`."""
    rows = frame.with_row_index("_row").filter(bad).select("_row", *columns).head(OFFENDING)
    return [
        f"row {row}: " + ", ".join(f"{column}={value!r:.200}" for column, value in zip(columns, values, strict=True))
        for row, *values in rows.iter_rows()
    ]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name most like `word`, if any is like it."""
    lowered = {name.lower(): name for name in known}
    match = difflib.get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.5)
    match += [name for name in lowered if word.lower() in re.split(r"[^a-z0-9]+", name)]  # item_id for id
    return lowered[match[0]] if match else None


def _column(table: pl.DataFrame, column: str, dtype: pl.DataType | type[pl.DataType], file: str) -> pl.Series:
    if column not in table.columns:
        raise _missing_column(table, column, file)
    return _cast(table[column], dtype, file)


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
            rows=[f"row {row}: {value!r:.200}" for row, value in enumerate(series.head(3).to_list())],
            mend=f"write {name!r} as {want}",
        )
    if dtype == pl.String and have != pl.Null:
        _refuse_endless(series, file)
    return series.cast(dtype)


def _refuse_endless(series: pl.Series, file: str) -> None:
    """Refuse strings that are few bytes as long as they are not copied."""
    sizes = series.str.len_bytes() if series.dtype == pl.String else series.cat.len_bytes()
    size = int(sizes.cast(pl.UInt64).sum() or 0)
    if size > MAX_COLUMN:
        raise CatalogError(
            f"column {series.name!r} unfolds into {size:,} bytes, more than {MAX_COLUMN:,}",
            where=f"{file}, column {series.name}",
            mend="shorten its strings",
        )
