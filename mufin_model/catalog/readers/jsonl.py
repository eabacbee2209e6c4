"""The generic tables as JSON Lines: an object a line, whose keys are the columns of schema.COLUMNS.

    items.jsonl     {"id": "p1", "text": "red oak chair", "image_paths": ["images/p1.jpg"]}
    labels.jsonl    {"id": "l1", "text": "chair cushion"}
    train.jsonl     {"item_id": "p1", "label_id": "l1"}

UTF-8; each file may be gzipped (.jsonl.gz). A missing key is a null, a whole number stands for its digits, further
keys and blank lines are ignored. Images lie below the folder, or in images.parquet.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from mufin_model.catalog import table_files
from mufin_model.catalog.json_entries import whole
from mufin_model.catalog.lines import BadLines
from mufin_model.catalog.link_columns import LINKS
from mufin_model.catalog.schema import COLUMNS, Source
from mufin_model.catalog.text_lines import texts
from mufin_model.errors import CatalogError

SUFFIXES = (".jsonl", ".jsonl.gz")


def recognises(folder: Path) -> bool:
    """True where any of the required tables lies."""
    return table_files.any_table(folder, SUFFIXES)


def read(folder: Path) -> Source:
    """Read the tables, block by block; images are read later, one by one.

    Raises:
        CatalogError: a file is missing or damaged, a line is no object or of other values than its columns', or an
            image path leads out of the folder.
    """
    return table_files.assembled(folder, *read_tables(folder))


def read_tables(folder: Path) -> tuple[dict[str, Path], dict[str, pl.DataFrame], list[str]]:
    """The file of each table, the tables, and what was read otherwise than as it stands."""
    notes: list[str] = []
    files = table_files.find(folder, SUFFIXES)
    return files, table_files.read_all(files, lambda name, file: _read_table(name, file, notes)), notes


def _read_table(name: str, file: Path, notes: list[str]) -> pl.DataFrame:
    wanted = COLUMNS[name]
    parts = [pl.DataFrame(schema=wanted)]
    bad, names = BadLines(file), table_files.Names(wanted)
    decode = json.JSONDecoder().decode
    for first, lines in texts(file, bad, notes):
        if lines[0].strip() == "[" and first == 1:
            raise CatalogError(
                "the file is one list, not an object a line",
                where=str(file),
                mend=f"jq -c '.[]' {file.name} writes an object a line",
            )
        records: list[dict[str, Any]] = []
        at: list[int] = []
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            try:
                record = decode(line)
            except (ValueError, RecursionError):
                record = None
            if isinstance(record, dict):
                names.add(record)
                records.append(record)
                at.append(number)
            else:
                bad.add(first + number, line, "are no JSON objects", mend='write an object a line: {"id": "p1", ...}')
        columns = []
        for column, dtype in wanted.items():
            series, odd = _series([record.get(column) for record in records], dtype)
            columns.append(series.alias(column))
            want = "string" if dtype == pl.String else "list of strings"
            for place in odd:
                told = f"hold no {want}"
                bad.add(first + at[place], lines[at[place]], told, column, f"write a {want}, or null")
        further = [key for key in names.found if key not in wanted] if name in LINKS else []
        columns += [_further([record.get(key) for record in records]).alias(key) for key in further]
        if not bad:
            parts.append(pl.DataFrame(columns))
    bad.refuse()
    return names.told(pl.concat(parts, how="diagonal"))


def _series(values: list[Any], dtype: pl.DataType | type[pl.DataType]) -> tuple[pl.Series, list[int]]:
    """The values as a column, and the places of those that are not of its type, which are nulls there."""
    string = dtype == pl.String
    kind = pa.large_string() if string else pa.large_list(pa.large_string())
    try:
        if not string and any(isinstance(value, str) for value in values):
            raise pa.ArrowTypeError("a string would be a list of its letters")
        return pl.Series(pa.array(values, kind)), []
    except (pa.ArrowException, UnicodeEncodeError):
        told = [(_string if string else _strings)(value) for value in values]
        odd = [place for place, value in enumerate(values) if value is not None and told[place] is None]
        return pl.Series(pa.array(told, kind)), odd


def _further(values: list[Any]) -> pl.Series:
    """The values of a key that no table asks for, as text."""
    texts = [None if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]
    return pl.Series([None if text is None else whole(text) for text in texts], dtype=pl.String)


def _string(value: Any) -> str | None:
    return whole(value) if isinstance(value, str) else str(value) if type(value) is int else None


def _strings(value: Any) -> list[str | None] | None:
    if isinstance(value, list) and all(entry is None or isinstance(entry, str) for entry in value):
        return [None if entry is None else whole(entry) for entry in value]
    return None
