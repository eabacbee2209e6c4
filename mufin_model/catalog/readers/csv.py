"""The generic tables as CSV or TSV, as spreadsheets and shops export them, with a folder of images.

    items.csv     id,text,image_paths            p1,"chair, red oak",images/p1.jpg;images/p1-back.jpg
    labels.csv    id,text
    train.csv     item_id,label_id

Commas part the columns of .csv, tabs those of .tsv, and whatever a first line `sep=;` names; each file may be gzipped
(.csv.gz). UTF-8, UTF-16 or Windows-1252 (text_lines). The first line names the columns, in any order. A field in quotes
may hold separators and line ends, and a quote where it is doubled. All fields are strings: ids keep their zeros. An
empty field is null, and so is what exporters write for it (null_markers). Paths in image_paths are joined by
semicolons. Images lie below the folder, or in images.parquet.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import polars as pl

from mufin_model.catalog import table_files
from mufin_model.catalog.lines import MAX_LINE, BadLines
from mufin_model.catalog.link_columns import LINKS
from mufin_model.catalog.schema import COLUMNS, Source
from mufin_model.catalog.text_lines import texts
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
    return table_files.assembled(folder, *read_tables(folder))


def read_tables(folder: Path) -> tuple[dict[str, Path], dict[str, pl.DataFrame], list[str]]:
    """The file of each table, the tables, and what was read otherwise than as it stands."""
    notes: list[str] = []
    files = table_files.find(folder, tuple(DELIMITERS))
    return files, table_files.read_all(files, lambda name, file: _read_table(name, file, notes)), notes


def _read_table(name: str, file: Path, notes: list[str]) -> pl.DataFrame:
    wanted, bad = COLUMNS[name], BadLines(file)
    delimiter, lines = _separated(file, bad, notes)
    rows = _rows(file, delimiter, lines)
    _, header = next(rows, (0, None))
    bad.refuse()
    if header is None:
        raise CatalogError("the file is empty", where=str(file), mend=f"begin it with a line of {', '.join(wanted)}")
    header = [column.strip() for column in header]
    ended = len(header)
    while header and not header[-1]:
        header.pop()  # a separator at the end of the line
    ended -= len(header)
    _check_header(file, header, list(wanted), delimiter)
    # All columns of links are read: any of them may say what a link means.
    read = dict.fromkeys(header if name in LINKS else [column for column in wanted if column in header])
    read.pop("", None)
    places = {column: header.index(column) for column in read}
    parts = [pl.DataFrame(schema=dict.fromkeys(places, pl.String))]
    trailing = None
    while block := list(islice(rows, AT_ONCE)):
        whole = []
        if trailing is None:
            trailing = ended or _trailing([row for _, row in block], len(header))
            if trailing:
                notes.append(f"{file.name}: separators at the end of its lines are passed over")
        for number, row in block:
            if len(row) == len(header) + trailing and not any(row[len(header) :]):
                del row[len(header) :]
            if len(row) == len(header):
                whole.append(row)
            elif len(row) > len(header):
                told = f"have not the {len(header)} fields of the first line"
                bad.add(number, delimiter.join(row), told, mend="put fields that hold the separator in quotes")
            else:
                told = f"have fewer than the {len(header)} fields of the first line"
                mend = "write every field, with a separator for an empty one, and no line end outside quotes"
                bad.add(number, delimiter.join(row), told, mend=mend)
        if not bad:
            strings = {column: [row[place] for row in whole] for column, place in places.items()}
            parts.append(pl.DataFrame(strings, schema=dict.fromkeys(places, pl.String)))
    bad.refuse()
    keys = table_files.Names(wanted)
    keys.add(header)
    return keys.told(_typed(pl.concat(parts)))


def _trailing(rows: list[list[str]], width: int) -> int:
    """How many separators end every row, beyond the columns; 0 where one row has other fields."""
    excess = len(rows[0]) - width
    alike = len(rows) > 1 and all(len(row) == width + excess and not any(row[width:]) for row in rows)
    return excess if excess > 0 and alike else 0


def _separated(file: Path, bad: BadLines, notes: list[str]) -> tuple[str, Iterator[str]]:
    """What parts the columns, and the lines with their ends; a first line `sep=;` names it and is passed over."""
    lines = (line + "\n" for _, block in texts(file, bad, notes) for line in block)
    first = next(lines, "")
    named = re.fullmatch(r'"?sep=(.|\\t)"?[,;\t]*', first.strip(" \r\n"), re.IGNORECASE)
    if named is None:
        return DELIMITERS[table_files.suffix(file)], chain([first] if first else [], lines)
    delimiter = named[1].replace("\\t", "\t")
    notes.append(f"{file.name}: its first line says that {delimiter!r} parts the columns")
    return delimiter, chain(["\n"], lines)


def _rows(file: Path, delimiter: str, lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """The fields of each row that is not blank, with the number of its first line, counted from 1.

    Raises:
        CatalogError: the file is missing or damaged, or a quote is not closed.
    """
    csv.field_size_limit(MAX_LINE)  # of the whole process; 128 KiB, its default, are fewer than a text may have
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    number = 1
    try:
        for row in rows:
            if row:
                yield number, row
            number = rows.line_num + 1
    except csv.Error as error:
        raise CatalogError(
            f"no readable row: {_in_words(error)}",
            where=f"{file}, line {number:,}",
            mend='close each quote, and double those within quotes: "6"" nail"',
        ) from error


def _in_words(error: csv.Error) -> str:
    told = str(error)
    if "unexpected end" in told:
        return "a quote is opened and never closed"
    if "expected after" in told:
        return "a quote within quotes is not doubled"
    if "field limit" in told:
        return f"a field has more than {MAX_LINE:,} characters; a quote may not be closed"
    return "a carriage return within it is not in quotes"


def _check_header(file: Path, header: list[str], wanted: list[str], delimiter: str) -> None:
    asked = wanted if "item_id" not in wanted else [*wanted, *header]  # any column of links may say what they mean
    twice = [column for column in asked if column and header.count(column) > 1]
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
                mend="call the file .tsv, or separate them by commas in a .csv, by tabs in a .tsv"
                if other == "\t"
                else f"separate them by commas in a .csv, by tabs in a .tsv; or let a first line say sep={other}",
            )
    known = {column.lower() for column in wanted}
    if not any(known & set(re.findall(r"[a-z_]+", column.lower())) for column in header) and _is_data(header):
        raise CatalogError(
            "the first line names no columns; it looks like a row",
            where=f"{file}, line 1",
            rows=[f"has: {delimiter.join(header)[:500]}"],
            mend=f"begin the file with a line that names its columns: {delimiter.join(wanted)}",
        )


def _is_data(header: list[str]) -> bool:
    """Whether a field is none that one would call a column by: with digits, a path, or a sentence."""
    return any(re.search(r"\d|[/\\]", field) or len(field.split()) > 3 for field in header)


def _typed(table: pl.DataFrame) -> pl.DataFrame:
    """The table with nulls for empty fields, and lists of paths."""
    table = table.with_columns(pl.all().replace("", None))
    if "image_paths" not in table.columns:
        return table
    path = pl.element().str.strip_chars()
    return table.with_columns(pl.col("image_paths").str.split(JOINER).list.eval(path.filter(path != "")))
