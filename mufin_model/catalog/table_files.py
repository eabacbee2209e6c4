"""The files of a catalogue in the generic tables, one file a table, whatever the format of the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from mufin_model.catalog.columns import COLUMNS, REQUIRED, nearest
from mufin_model.catalog.faults import apart, settle
from mufin_model.catalog.image_files import images
from mufin_model.catalog.schema import Source
from mufin_model.errors import CatalogError


def any_table(folder: Path, suffixes: Sequence[str]) -> bool:
    """True where a required table lies in a file of one of the suffixes."""
    return any((folder / f"{name}{suffix}").is_file() for name in REQUIRED for suffix in suffixes)


def find(folder: Path, suffixes: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Path]:
    """The file of each table that is there.

    Args:
        folder: the catalogue.
        suffixes: those that the format knows, the usual one first.
        optional: required tables that may be missing after all.

    Raises:
        CatalogError: a required table is missing, or there are two files of one.
    """
    found = {}
    for name in COLUMNS:
        files = [file for suffix in suffixes if (file := folder / f"{name}{suffix}").is_file()]
        if len(files) > 1:
            with apart():
                raise CatalogError(
                    f"there are {len(files)} files of the table {name}",
                    where=str(folder),
                    rows=[file.name for file in files],
                    mend="keep one of them",
                )
        if files:
            found[name] = files[0]
        elif name in REQUIRED and name not in optional:
            with apart():
                raise _missing(folder, f"{name}{suffixes[0]}")
    settle()
    return found


def read_all(files: dict[str, Path], read: Callable[[str, Path], pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Each table by `read(name, file)`.

    Raises:
        CatalogError: one of them is damaged.
    """
    tables = {}
    for name, file in files.items():
        with apart():
            tables[name] = read(name, file)
    settle()
    return tables


def assembled(folder: Path, files: dict[str, Path], tables: dict[str, pl.DataFrame]) -> Source:
    """The catalogue of these tables, its images packed in images.parquet or files below the folder.

    Raises:
        CatalogError: an image path leads out of the folder, or images.parquet is damaged.
    """
    told = {name: str(file) for name, file in files.items()}
    return Source(tables, images(folder, tables, told), told)


def _missing(folder: Path, name: str) -> CatalogError:
    there = sorted(path.name for path in folder.iterdir())
    near = nearest(name, there)
    return CatalogError(
        f"{name} is missing",
        where=str(folder / name),
        rows=[f"found: {', '.join(there[:10]) or 'nothing'}"],
        mend=f"rename {near!r} to {name!r}" if near and not near.startswith(tuple(COLUMNS)) else f"add {name}",
    )
