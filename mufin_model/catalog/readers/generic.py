"""The generic format: Parquet tables (schema.COLUMNS), images as files beside them or in images.parquet.

images.parquet has the columns path and bytes, and may be a folder of such files (packed); without it, image_paths are
files relative to the folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import polars as pl

from mufin_model.catalog.distrust import open_parquet, read_inside, reading
from mufin_model.catalog.packed import FILE, PackedImages
from mufin_model.catalog.schema import COLUMNS, REQUIRED, Source, nearest, offending
from mufin_model.errors import CatalogError

OUTSIDE = r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)"
"""A path that is absolute or climbs out of the folder."""


def recognises(folder: Path) -> bool:
    """True where any of the required tables lies."""
    return any((folder / f"{name}.parquet").is_file() for name in REQUIRED)


def read(folder: Path) -> Source:
    """Read the tables; images are read later, one by one.

    Raises:
        CatalogError: a file is missing or no Parquet, or an image path leads out of the folder.
    """
    files = {name: str(folder / f"{name}.parquet") for name in COLUMNS}
    tables = {}
    for name, file in files.items():
        if Path(file).is_file():
            tables[name] = _read_table(name, file)
        elif name in REQUIRED:
            raise _missing_file(folder, f"{name}.parquet")
    packed = folder / FILE
    if packed.exists():
        return Source(tables, PackedImages(packed), files)
    for name in ("items", "labels", "zeroshot_labels"):
        if name in tables:
            _refuse_outside(tables[name], files[name])
    return Source(tables, ImageFiles(folder), files)


class ImageFiles:
    """Images as files below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stream(self, paths: Iterable[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Each path with a function that reads its file, in the order given."""
        for path in paths:
            yield path, partial(read_inside, self.folder, path)


def _read_table(name: str, file: str) -> pl.DataFrame:
    open_parquet(Path(file)).close()
    with reading(file):
        have = pl.read_parquet_schema(file)
        # Other columns are ignored, but their names serve the error messages where one is missing.
        table = pl.read_parquet(file, columns=[column for column in COLUMNS[name] if column in have], use_pyarrow=False)
    rest = [pl.lit(None).alias(column) for column in have if column not in table.columns]
    return table.with_columns(rest) if len(table.columns) else pl.DataFrame(schema=have)


def _missing_file(folder: Path, name: str) -> CatalogError:
    near = nearest(name, [path.name for path in folder.iterdir()])
    return CatalogError(
        f"{name} is missing",
        where=str(folder / name),
        rows=[f"found: {', '.join(sorted(path.name for path in folder.iterdir())[:10]) or 'nothing'}"],
        mend=f"rename {near!r} to {name!r}" if near and not near.startswith(tuple(COLUMNS)) else f"add {name}",
    )


def _refuse_outside(table: pl.DataFrame, file: str) -> None:
    if table.schema.get("image_paths") != pl.List(pl.String):
        return  # no paths, or a wrong type, which the schema's check names
    outside = table["image_paths"].list.eval(pl.element().str.contains(OUTSIDE)).list.any().fill_null(False)
    if outside.any():
        raise CatalogError(
            f"{outside.sum():,} rows have image paths outside the catalogue",
            where=f"{file}, column image_paths",
            rows=offending(table, outside, *(c for c in ("id", "image_paths") if c in table.columns)),
            mend="put the images below the catalogue's folder and name them relative to it",
        )
