"""The generic tables as CSV or TSV, as spreadsheets and shops export them, with a folder of images.

    items.csv     id,text,image_paths            p1,"chair, red oak",images/p1.jpg;images/p1-back.jpg
    labels.csv    id,text
    train.csv     item_id,label_id

Commas part the columns of .csv, tabs those of .tsv; each file may be gzipped (.csv.gz). UTF-8, with or without a byte
order mark. The first line names the columns, in any order; further ones are ignored. A field in quotes may hold commas
and line ends, and a quote where it is doubled. All fields are strings: ids keep their zeros. An empty field is null.
Paths in image_paths are joined by semicolons. Images lie below the folder, or in images.parquet.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from mufin_model.catalog import table_files
from mufin_model.catalog.lines import MAX_LINE, BadLines, blocks
from mufin_model.catalog.link_columns import LINKS
from mufin_model.catalog.schema import COLUMNS, Source
from mufin_model.errors import CatalogError

DELIMITERS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t"}
JOINER = ";"
"""Between the paths of image_paths."""
AT_ONCE = 20_000
"""Rows in memory as lists."""


def recognises(folder: Path) -> bool:
    """True where any of the required tables lies."""
    return table_files.any_table(folder, tuple(DELIMITERS))


def read(folder: Path) -> Source:
    """Read the tables, block by block; images are read later, one by one.

    Raises:
        CatalogError: a file is missing or damaged, a row has not as many fields as there are columns, or an image path
            leads out of the folder.
    """
    files = table_files.find(folder, tuple(DELIMITERS))
    return table_files.assembled(folder, files, table_files.read_all(files, _read_table))


def _read_table(name: str, file: Path) -> pl.DataFrame:
    wanted, bad, delimiter = COLUMNS[name], BadLines(file), DELIMITERS[table_files.suffix(file)]
    rows = _rows(file, delimiter, bad)
    _, header = next(rows, (0, None))
    bad.refuse()
    if header is None:
        raise CatalogError("the file is empty", where=str(file), mend=f"begin it with a line of {', '.join(wanted)}")
    header = [column.strip() for column in header]
    _check_header(file, header, list(wanted), delimiter)
    # All columns of links are read: any of them may say what a link means.
    read = dict.fromkeys(header if name in LINKS else [column for column in wanted if column in header])
    places = {column: header.index(column) for column in read}
    parts = [pl.DataFrame(schema=dict.fromkeys(places, pl.String))]
    while block := list(islice(rows, AT_ONCE)):
        whole = []
        for number, row in block:
            if len(row) == len(header):
                whole.append(row)
            else:
                told = f"have not the {len(header)} fields of the first line"
                bad.add(number, delimiter.join(row), told, mend="put fields that hold the separator in quotes")
        if not bad:
            strings = {column: [row[place] for row in whole] for column, place in places.items()}
            parts.append(pl.DataFrame(strings, schema=dict.fromkeys(places, pl.String)))
    bad.refuse()
    keys = table_files.Names(wanted)
    keys.add(header)
    return keys.told(_typed(pl.concat(parts)))


def _rows(file: Path, delimiter: str, bad: BadLines) -> Iterator[tuple[int, list[str]]]:
    """The fields of each row that is not blank, with the number of its first line, counted from 1.

    Raises:
        CatalogError: the file is missing or damaged, or a quote is not closed.
    """
    csv.field_size_limit(MAX_LINE)  # of the whole process; 128 KiB, its default, are fewer than a text may have
    rows = csv.reader(_lines(file, bad), delimiter=delimiter, strict=True)
    number = 1
    try:
        for row in rows:
            if row:
                yield number, row
            number = rows.line_num + 1
    except csv.Error as error:
        raise CatalogError(
            f"no readable row: {error}",
            where=f"{file}, line {number:,}",
            mend='close each quote, and double those within quotes: "6"" nail"',
        ) from error


def _lines(file: Path, bad: BadLines) -> Iterator[str]:
    for first, lines in blocks(file):
        if first == 1:
            lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
        try:
            yield from [line.decode() + "\n" for line in lines]
        except UnicodeDecodeError:
            for number, line in enumerate(lines, first):
                text = line.decode(errors="replace")
                if text.encode() != line:
                    bad.add(number, line, "are not UTF-8", mend="save it as UTF-8 (a spreadsheet calls it CSV UTF-8)")
                yield text + "\n"


def _check_header(file: Path, header: list[str], wanted: list[str], delimiter: str) -> None:
    twice = [column for column in wanted if header.count(column) > 1]
    if twice:
        raise CatalogError(
            f"column {twice[0]!r} is there {header.count(twice[0])} times",
            where=f"{file}, line 1",
            rows=[f"has: {', '.join(header)[:500]}"],
            mend="keep one of them",
        )
    for other in (",", "\t", ";", "|"):
        if other != delimiter and len(header) == 1 and len(header[0].split(other)) > 1:
            raise CatalogError(
                f"the columns are not separated by {delimiter!r}",
                where=f"{file}, line 1",
                rows=[repr(header[0][:500])],
                mend="separate them by commas in a .csv, by tabs in a .tsv",
            )


def _typed(table: pl.DataFrame) -> pl.DataFrame:
    """The table with nulls for empty fields, and lists of paths."""
    table = table.with_columns(pl.all().replace("", None))
    if "image_paths" not in table.columns:
        return table
    path = pl.element().str.strip_chars()
    return table.with_columns(pl.col("image_paths").str.split(JOINER).list.eval(path.filter(path != "")))
