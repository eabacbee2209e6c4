"""What exporters write in place of nothing: \\N of MySQL and Hive, NULL of SQL, nan of pandas, #N/A of spreadsheets."""

from __future__ import annotations

import polars as pl

from mufin_model.catalog.columns import IMAGES

CERTAIN = ("\\N", "NULL", "<null>", "(null)", "NaN", "nan", "<NA>", "#N/A", "#NA", "#NULL!", "#REF!", "#VALUE!")
"""Nobody calls anything so."""
LIKELY = ("null", "None", "none", "N/A", "n/a", "NA", "nil", "undefined")
"""A title may be so, but hardly two of one table, and no path is."""


LONGEST = 16
"""Bytes of a marker with blanks around it."""


def without_null_markers(table: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, str]]:
    """A table with nulls for null markers in its ids, texts and image paths.

    Ids are nulls only where the marker is certain: `NA` and `None` are ids of countries and sizes.

    Returns:
        the table; and column to what was read as empty, in words.
    """
    told: dict[str, str] = {}
    for column in ("id", "item_id", "label_id", "text", "image_paths"):
        dtype = table.schema.get(column)
        if dtype == pl.String:
            values = _short(table[column])
            markers = set(CERTAIN) | (_repeated(values) if column == "text" else set())
            found = values.filter(values.is_in(list(markers)).fill_null(False))
            if found.is_empty():
                continue
            cleaned = pl.when(values.is_in(list(markers)).fill_null(False)).then(None).otherwise(pl.col(column))
        elif dtype == IMAGES and column == "image_paths":
            path = pl.element().str.strip_chars()
            flat = table[column].explode(empty_as_null=False, keep_nulls=False).str.strip_chars()
            found = flat.filter(flat.is_in([*CERTAIN, *LIKELY]).fill_null(False))
            if found.is_empty():
                continue
            cleaned = pl.col(column).list.eval(pl.element().filter(~path.is_in([*CERTAIN, *LIKELY]).fill_null(False)))
        else:
            continue
        table = table.with_columns(cleaned.alias(column))
        shown = ", ".join(repr(marker).replace("\\\\", "\\") for marker in found.unique(maintain_order=True).head(5))
        told[column] = f"{len(found):,} cells of {shown} are read as empty"
    return table, told


def _short(cells: pl.Series) -> pl.Series:
    """The cells without blanks around, null where they are too long to be a marker.

    Not all are stripped: cells of a dictionary may stand for gigabytes, which a copy would unfold.
    """
    short = cells.str.len_bytes() <= LONGEST
    return (
        cells.to_frame().select(pl.when(short).then(pl.col(cells.name)).alias(cells.name))[cells.name].str.strip_chars()
    )


def _repeated(values: pl.Series) -> set[str]:
    """The likely markers that occur twice or more."""
    counts = values.filter(values.is_in(list(LIKELY)).fill_null(False)).value_counts(name="times")
    return set(counts.filter(pl.col("times") > 1)[values.name])
