"""Readers of catalogues: each module in this folder is one format, named as the module is.

A reader has `recognises(folder) -> bool` and `read(folder) -> schema.Source`. Adding a file adds the format.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from mufin_model.catalog.schema import Source, nearest
from mufin_model.errors import CatalogError, SettingError


def formats() -> list[str]:
    """The names of all formats."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def read(folder: Path, format: str) -> Source:
    """Read a catalogue.

    Args:
        folder: the catalogue.
        format: a name from `formats()`, or 'auto' for the first that recognises the folder.

    Raises:
        SettingError: there is no such format.
        CatalogError: the folder is missing, of no known format, or broken.
    """
    if format != "auto" and format not in formats():
        near = nearest(format, formats())
        raise SettingError(
            f"unknown catalogue format {format!r}",
            where="ingest.format",
            rows=["auto", *formats()],
            mend=f"did you mean {near!r}?" if near else "use one of these",
        )
    if not folder.is_dir():
        raise CatalogError("there is no catalogue", where=str(folder), mend="put the catalogue's files there")
    if format != "auto":
        return _module(format).read(folder)
    for name in formats():
        if _module(name).recognises(folder):
            return _module(name).read(folder)
    raise CatalogError(
        "the catalogue is of no known format",
        where=str(folder),
        rows=[f"found: {', '.join(sorted(path.name for path in folder.iterdir())[:10]) or 'nothing'}"],
        mend="write items.parquet, labels.parquet, train.parquet and test.parquet (data/README.md shows them)",
    )


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")
