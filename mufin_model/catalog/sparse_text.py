"""The Extreme Classification Repository's text files: sparse matrices, pairs of row numbers, titles with their UIDs.

trn_X_Y.txt               "rows columns", then a line for each row: "column:value column:value ..."
filter_labels_test.txt    "item label", a pair a line
train.raw.txt             "UID->title", a line for each row
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from mufin_model.catalog.lines import SHOWN, blocks, fault
from mufin_model.errors import CatalogError

ENCODING = "latin-1"
"""Of every text file: it decodes any bytes, so that lines stay in step with rows."""
LARGEST = 2**32 - 1
"""Rows and columns at most."""

Rows = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Pairs:
    """The entries of a sparse matrix that are not zero.

    Attributes:
        file: where they come from.
        rows, columns: uint32 [nnz], counted from 0.
        shape: rows and columns, as the file's header says; None where it has none.
    """

    file: Path
    rows: Rows
    columns: Rows
    shape: tuple[int, int] | None


def read_matrix(file: Path) -> Pairs:
    """A sparse matrix; rows may be blank, zeros are left out.

    Raises:
        CatalogError: the header is no pair of numbers, a line is no list of column:value, a column is past the
            header's, or there are fewer or more lines than it says.
    """
    shape: tuple[int, int] | None = None
    parts: list[pl.DataFrame] = []
    seen = 0
    for number, lines in blocks(file):
        if shape is None:
            shape = _header(file, lines.pop(0))
            number += 1
        # A blank line too many is one too many: every row after it would have its neighbour's labels.
        if seen + len(lines) > shape[0]:
            at = shape[0] - seen
            raise fault(
                file,
                f"there are more rows than the {shape[0]:,} of the header",
                [(number + at, lines[at])],
                "correct the header's first number, or remove the lines",
            )
        if lines:
            parts.append(_entries(file, number, lines, shape[1]).with_columns(pl.col("row") + seen))
        seen += len(lines)
    if shape is None:
        raise fault(file, "the file is empty", [], 'write "rows columns" and a line for each row')
    if seen < shape[0]:
        raise CatalogError(
            f"the file ends after {seen:,} rows of {shape[0]:,}",
            where=f"{file}, line {seen + 1:,}",
            mend="copy or download it again; rows without labels are blank lines",
        )
    table = pl.concat(parts) if parts else pl.DataFrame(schema={"row": pl.UInt32, "column": pl.UInt32})
    return Pairs(file, table["row"].to_numpy(), table["column"].to_numpy(), shape)


def read_pairs(file: Path) -> Pairs:
    """Pairs of row numbers, an item and a label a line; blank lines and what follows a # count for nothing.

    Numbers may be written as decimals (numpy.savetxt's way).

    Raises:
        CatalogError: a line is no pair of whole numbers.
    """
    parts: list[pl.DataFrame] = []
    for number, lines in blocks(file):
        text = pl.Series("line", [line.partition(b"#")[0].decode(ENCODING) for line in lines])
        table = pl.DataFrame({"line": text}).with_row_index("at", number)
        table = table.with_columns(pl.col("line").str.replace_all("\t", " ").str.strip_chars())
        table = table.filter(pl.col("line") != "").with_columns(
            word=pl.col("line").str.replace_all(" +", " ").str.splitn(" ", 2)
        )
        table = table.unnest("word").with_columns(pl.col("field_0", "field_1").cast(pl.Float64, strict=False))
        whole = pl.all_horizontal(
            (pl.col(name) >= 0) & (pl.col(name) <= LARGEST) & (pl.col(name) == pl.col(name).floor())
            for name in ("field_0", "field_1")
        ).fill_null(False)
        bad = table.filter(~whole).head(SHOWN)
        if bad.height:
            raise fault(file, "lines are no pairs of row numbers", bad.select("at", "line").iter_rows())
        parts.append(table.select(pl.col("field_0", "field_1").cast(pl.UInt32)))
    if not parts:
        return Pairs(file, np.zeros(0, np.uint32), np.zeros(0, np.uint32), None)
    both = pl.concat(parts)
    return Pairs(file, both["field_0"].to_numpy(), both["field_1"].to_numpy(), None)


def read_titles(file: Path, uids: bool) -> pl.DataFrame:
    """Titles, a line each.

    Args:
        file: of latin-1 text.
        uids: whether each line is "UID->title", split at its first arrow; otherwise the line is the title.

    Returns:
        id (null without UIDs), text.

    Raises:
        CatalogError: a line has no arrow or no UID.
    """
    parts: list[pl.DataFrame] = []
    for number, lines in blocks(file):
        line = pl.Series("line", [line.decode(ENCODING) for line in lines], dtype=pl.String)
        if not uids:
            parts.append(pl.DataFrame({"id": pl.Series([None] * len(line), dtype=pl.String), "text": line}))
            continue
        table = line.str.splitn("->", 2).struct.unnest().with_columns(pl.col("field_0").str.strip_chars())
        wrong = table["field_1"].is_null() | (table["field_0"] == "")
        if wrong.any():
            bad = pl.DataFrame({"line": line}).with_row_index("at", number).filter(wrong).head(SHOWN)
            raise fault(file, 'lines are not "UID->title"', bad.iter_rows(), "write the UID, -> and the title")
        parts.append(table.rename({"field_0": "id", "field_1": "text"}))
    return pl.concat(parts) if parts else pl.DataFrame(schema={"id": pl.String, "text": pl.String})


def _header(file: Path, line: bytes) -> tuple[int, int]:
    words = line.split()
    if len(words) == 3 and all(word.isdigit() for word in words):
        raise fault(
            file,
            "this is a bag-of-words file, of features without their words",
            [(1, line)],
            "use the label matrix (trn_X_Y.txt) with the raw text instead",
        )
    if len(words) != 2 or not all(word.isdigit() and int(word) <= LARGEST for word in words):
        raise fault(file, 'the header is not "rows columns"', [(1, line)], 'begin with a line such as "586781 303296"')
    return int(words[0]), int(words[1])


def _entries(file: Path, number: int, lines: list[bytes], columns: int) -> pl.DataFrame:
    """row (of the block), column, where the value is not zero."""
    text = pl.DataFrame({"line": [line.decode(ENCODING) for line in lines]}).with_row_index("row")
    words = text.with_columns(pl.col("line").str.split(" ")).explode("line", empty_as_null=False, keep_nulls=False)
    words = words.filter(pl.col("line") != "").with_columns(entry=pl.col("line").str.splitn(":", 2)).unnest("entry")
    words = words.with_columns(
        column=pl.col("field_0").cast(pl.UInt32, strict=False), value=pl.col("field_1").cast(pl.Float64, strict=False)
    )
    fits = (pl.col("column").is_not_null() & pl.col("value").is_finite()).fill_null(False)
    bad = words.filter(~fits).head(SHOWN)
    if bad.height:
        raise fault(
            file,
            'entries are not "column:value"',
            bad.select(pl.col("row").cast(pl.Int64) + number, "line").iter_rows(),
        )
    bad = words.filter(pl.col("column") >= columns).head(SHOWN)
    if bad.height:
        raise fault(
            file,
            f"columns are past the last of {columns:,} (they are counted from 0)",
            bad.select(pl.col("row").cast(pl.Int64) + number, "line").iter_rows(),
            "correct them, or the header's second number",
        )
    return words.filter(pl.col("value") != 0).select("row", "column")
