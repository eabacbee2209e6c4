"""The files of a catalogue in the generic tables, one file a table, whatever the format of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import polars as pl

from mufin_model.catalog.columns import COLUMNS, REQUIRED, nearest
from mufin_model.catalog.faults import apart
from mufin_model.catalog.image_files import images
from mufin_model.catalog.null_markers import without_null_markers
from mufin_model.catalog.schema import Source
from mufin_model.errors import CatalogError


def any_table(folder: Path, suffixes: Sequence[str]) -> bool:
    """True where a required table lies in a file of one of the suffixes."""
    return any(_there(folder / f"{name}{suffix}") for name in REQUIRED for suffix in suffixes)


def suffix(file: Path) -> str:
    """The format of a table's file: .csv.gz, also of a part called part-00000-1f.c000.csv.gz."""
    return "".join(file.suffixes[-2:] if file.suffix == ".gz" else file.suffixes[-1:])


def parts(file: Path) -> list[Path]:
    """The part files of a table that a cluster wrote as a folder, items.csv/part-00000.csv, in order; else the file."""
    if not file.is_dir():
        return [file]
    return sorted(part for part in file.iterdir() if part.is_file() and part.name[0] not in "._")


def _there(file: Path) -> bool:
    return file.is_file() or (file.is_dir() and bool(parts(file)))


def find(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """The file of each table that is there; where faults are gathered, a required one may be missing.

    Args:
        folder: the catalogue.
        suffixes: those that the format knows, the usual one first.

    Raises:
        CatalogError: a required table is missing, or there are two files of one.
    """
    found = {}
    for name in COLUMNS:
        files = [file for suffix in suffixes if _there(file := folder / f"{name}{suffix}")]
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
        elif name in REQUIRED:
            with apart():
                raise _missing(folder, f"{name}{suffixes[0]}")
    return found


def read_all(files: dict[str, Path], read: Callable[[str, Path], pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Each table by `read(name, file)`; without the damaged ones, where faults are gathered.

    Raises:
        CatalogError: one of them is damaged.
    """
    tables = {}
    for name, file in files.items():
        with apart():
            tables[name] = pl.concat([read(name, part) for part in parts(file)], how="diagonal_relaxed")
    return tables


class Names:
    """The columns that a file turns out to have.

    Args:
        wanted: those asked for; of the others the first MOST are kept, for an error to tell where one is missing.
    """

    MOST = 100

    def __init__(self, wanted: Iterable[str]) -> None:
        self.wanted = list(wanted)
        self.found: dict[str, None] = {}

    def add(self, names: Iterable[str]) -> None:
        """Note the columns of a row, or of all."""
        for name in names:
            if name not in self.found and (len(self.found) < self.MOST or name in self.wanted):
                self.found[name] = None

    def told(self, table: pl.DataFrame) -> pl.DataFrame:
        """The table without the columns that the file has not; columns that were not read are nulls."""
        if not self.found:
            return table  # without rows, where rows name the columns
        rest = [
            pl.col(name) if name in table.columns else pl.lit(None).alias(name)
            for name in self.found
            if name not in self.wanted
        ]
        return table.select(*(name for name in self.wanted if name in self.found), *rest)


def assembled(folder: Path, files: dict[str, Path], tables: dict[str, pl.DataFrame], notes: list[str]) -> Source:
    """The catalogue of these tables, its images packed in images.parquet or files below the folder.

    Raises:
        CatalogError: an image path leads out of the folder, or images.parquet is damaged.
    """
    told = {name: str(file) for name, file in files.items()}
    for name, table in tables.items():
        tables[name], marked = without_null_markers(table)
        notes += [f"{files[name].name}, column {column}: {text}" for column, text in marked.items()]
    return Source(tables, images(folder, tables, told), told, notes=tuple(notes))


def _missing(folder: Path, name: str) -> CatalogError:
    there = sorted(path.name for path in folder.iterdir())
    near = nearest(name, there)
    return CatalogError(
        f"{name} is missing",
        where=str(folder / name),
        rows=[f"found: {', '.join(there[:10]) or 'nothing'}"],
        mend=f"rename {near!r} to {name!r}" if near and not near.startswith(tuple(COLUMNS)) else f"add {name}",
    )
