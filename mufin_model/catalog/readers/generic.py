"""The generic format: Parquet tables (schema.COLUMNS), images as files beside them or in images.parquet.

images.parquet has the columns path and bytes, and may be a folder of such files (packed); without it, image_paths are
files relative to the folder.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from mufin_model.catalog import table_files
from mufin_model.catalog.distrust import open_parquet, reading
from mufin_model.catalog.link_columns import LINKS
from mufin_model.catalog.schema import COLUMNS, Source

SUFFIXES = (".parquet",)


def recognises(folder: Path) -> bool:
    """True where any of the required tables lies."""
    return table_files.any_table(folder, SUFFIXES)


def read(folder: Path) -> Source:
    """Read the tables; images are read later, one by one.

    Raises:
        CatalogError: a file is missing or no Parquet, or an image path leads out of the folder.
    """
    return table_files.assembled(folder, *read_tables(folder))


def read_tables(folder: Path) -> tuple[dict[str, Path], dict[str, pl.DataFrame], list[str]]:
    """The file of each table, the tables, and what was read otherwise than as it stands."""
    notes: list[str] = []
    files = table_files.find(folder, SUFFIXES)
    return files, table_files.read_all(files, _read_table), notes


def _read_table(name: str, file: Path) -> pl.DataFrame:
    open_parquet(file).close()
    with reading(file):
        have = pl.read_parquet_schema(file)
        # Of other columns only those of links are read; the names of all serve messages.
        wanted = [
            column for column, dtype in have.items() if column in COLUMNS[name] or (name in LINKS and _plain(dtype))
        ]
        table = pl.read_parquet(file, columns=wanted, use_pyarrow=False)
    rest = [pl.lit(None).alias(column) for column in have if column not in table.columns]
    return table.with_columns(rest) if len(table.columns) else pl.DataFrame(schema=have)


def _plain(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype.is_temporal() or dtype in (pl.String, pl.Boolean)
