"""Artefacts reduced to the small pandas tables that the rules speak of.

Each noun with rules has a module here of the same name, whose TABLES names a function for each table. Polars and
NumPy do the reading and reducing (memory-mapped where files are large); pandas only carries the result to Great
Expectations, which knows no polars.

A reduced column never holds a null, except where the artefact's own column does: expectations skip nulls.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from mufin_model.artefacts import Workspace

if TYPE_CHECKING:
    import pandas as pd


class Source:
    """What a table is built from: one dataset's artefacts, each file read once."""

    def __init__(self, workspace: Workspace, dataset: str) -> None:
        self.workspace, self.dataset = workspace, dataset
        self._kept: dict[Hashable, Any] = {}

    def folder(self, noun: str) -> Path:
        """The artefact's folder.

        Raises:
            ArtefactError: it does not exist yet.
        """
        return self.workspace.read(self.dataset, noun)

    def parquet(self, noun: str, file: str) -> pl.DataFrame:
        return self.once((noun, file), lambda: pl.read_parquet(self.folder(noun) / file))

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value of `make`, called at the first use of `key`."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


Table = Callable[[Source], pl.DataFrame]


def tables(noun: str) -> dict[str, Table]:
    """The functions that build a noun's tables, by the table's name."""
    return importlib.import_module(f"mufin_dagster.quality.{noun}").TABLES


def build(source: Source, noun: str, table: str) -> pd.DataFrame:
    """One summary table.

    Raises:
        ArtefactError: the artefact does not exist.
        Exception: whatever reading damaged files raises; the validator reports it.
    """
    return tables(noun)[table](source).to_pandas()
