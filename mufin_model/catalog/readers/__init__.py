"""Readers of catalogues: each module in this folder is one format, named as the module is.

A reader has `recognises(folder) -> bool` and `read(folder) -> schema.Source`. Adding a file adds the format.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import polars as pl

from mufin_model.catalog.faults import gathered
from mufin_model.catalog.schema import Source, nearest
from mufin_model.errors import CatalogError, SettingError


def formats() -> list[str]:
    """The names of all formats."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def read(folder: Path, format: str) -> Source:
    """Read a catalogue.

    Args:
        folder: the catalogue.
        format: a name from `formats()`, or 'auto' for the one that recognises the folder.

    Raises:
        SettingError: there is no such format.
        CatalogError: the folder is missing, of no known format or of several, or broken.
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
    known = [name for name in formats() if _module(name).recognises(folder)]
    if len(known) == 1:
        return _module(known[0]).read(folder)
    there = f"found: {', '.join(sorted(path.name for path in folder.iterdir())[:10]) or 'nothing'}"
    if known:
        raise CatalogError(
            f"the catalogue may be of {len(known)} formats: {', '.join(known)}",
            where=str(folder),
            rows=[there],
            mend="keep the files of one, or name it: ingest.format",
        )
    raise CatalogError(
        "the catalogue is of no known format",
        where=str(folder),
        rows=[there],
        mend="write the tables items, labels, train and test, as .csv, .jsonl or .parquet (data/README.md shows them)",
    )


def tables(folder: Path) -> dict[str, pl.DataFrame]:
    """The generic tables alone, wherever their image paths lead.

    Raises:
        CatalogError: as `read`, or the catalogue is not in the generic tables.
    """
    found: dict[str, pl.DataFrame] = {}
    with gathered():
        for name in formats():
            module = _module(name)
            if hasattr(module, "read_tables") and folder.is_dir() and module.recognises(folder):
                found |= module.read_tables(folder)[1]
    if not found:
        hint = "name the folder that holds items, labels, train and test, as .csv, .jsonl or .parquet"
        raise CatalogError("there are no generic tables", where=str(folder), mend=hint)
    return found


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")
