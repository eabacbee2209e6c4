"""Images as files below a catalogue's folder, or packed in its images.parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import polars as pl

from mufin_model.catalog import path_faults
from mufin_model.catalog.columns import DESCRIBED, refuse
from mufin_model.catalog.distrust import read_inside
from mufin_model.catalog.faults import apart
from mufin_model.catalog.packed import FILE, PackedImages
from mufin_model.catalog.schema import ImageSource
from mufin_model.errors import CatalogError

OUTSIDE = r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)"
"""A path that is absolute or climbs out of the folder."""


class ImageFiles:
    """Images as files below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stream(self, paths: Iterable[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Each path with a function that reads its file, in the order given."""
        for path in paths:
            yield path, partial(read_inside, self.folder, path)


def images(folder: Path, tables: dict[str, pl.DataFrame], files: dict[str, str]) -> ImageSource:
    """Where the image paths of generic tables lead.

    Args:
        folder: the catalogue.
        tables: by the names of schema.COLUMNS.
        files: the file of each table, for error messages.

    Raises:
        CatalogError: an image path leads out of the folder, or images.parquet is damaged.
    """
    packed = folder / FILE
    if packed.exists():
        return PackedImages(packed)
    for name in DESCRIBED:
        if name in tables and tables[name].schema.get("image_paths") == pl.List(pl.String):
            with apart():
                _refuse_throughout(folder, tables[name], files[name])
                _refuse_outside(tables[name], files[name])
    return ImageFiles(folder)


def _refuse_throughout(folder: Path, table: pl.DataFrame, file: str) -> None:
    """Refuse a column most of whose paths have the same fault, however single bad images are dealt with."""
    paths = table["image_paths"].explode(empty_as_null=False, keep_nulls=False).drop_nulls().unique(maintain_order=True)
    lost = path_faults.missing(folder, paths)
    found = path_faults.explain(folder, lost) if 2 * len(lost) > len(paths) else None
    if found and 2 * found.count > len(paths):
        raise CatalogError(
            f"{found.count:,} of {len(paths):,} image paths {found.what}",
            where=f"{file}, column image_paths",
            rows=found.examples,
            mend=found.hint,
        )


def _refuse_outside(table: pl.DataFrame, file: str) -> None:
    outside = table["image_paths"].list.eval(pl.element().str.contains(OUTSIDE)).list.any().fill_null(False)
    what, where = f"{outside.sum():,} rows have image paths outside the catalogue", f"{file}, column image_paths"
    shown = [column for column in ("id", "image_paths") if column in table.columns]
    mend = "put the images below the catalogue's folder and name them relative to it"
    refuse(table, outside, shown, what, where, mend)
