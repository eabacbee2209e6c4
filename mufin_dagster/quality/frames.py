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

import numpy as np
import numpy.typing as npt
import polars as pl

from mufin_model.artefacts import NOUNS, Workspace

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

    def released(self, path: str) -> Path | None:
        """A file of the last release, which drift and metrics are held against; None where it is not there.

        The release is the reference because it is what serves, holds its own data, and is replaced only after the
        checks: what validation itself wrote would make the second run agree with the first.
        """
        file = self.workspace.path(self.dataset, NOUNS["release"]) / path
        return file if file.is_file() else None

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value of `make`, called at the first use of `key`."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


def eras(column: str, now: npt.ArrayLike, then: npt.ArrayLike | None) -> pl.DataFrame:
    """Numbers of this version and of the release under each other: era ("now" or "release"), `column`."""
    parts: dict[str, npt.ArrayLike] = {"now": now, "release": [] if then is None else then}
    return pl.concat(
        [
            pl.DataFrame({column: np.asarray(values, np.float64)}).select(pl.lit(era).alias("era"), column)
            for era, values in parts.items()
        ]
    )


MODULES = {
    "raw_descriptors": ("raw_descriptors", "raw_leakage", "raw_populations"),
    "encoder_embeddings": ("encoder_embeddings",),
    "pretrained_model": ("pretrained_model",),
    "anns_index": ("anns_index",),
    "mined_negatives": ("mined_negatives",),
    "finetuned_classifiers": ("finetuned_classifiers",),
    "predictions": ("predictions",),
    "eval_report": ("eval_report",),
}
"""The modules of this package with tables of a noun. Written out: they are code that `release` depends on."""

Table = Callable[[Source], pl.DataFrame]


def tables(noun: str) -> dict[str, Table]:
    """The functions that build a noun's tables, by the table's name."""
    found: dict[str, Table] = {}
    for module in MODULES[noun]:
        found |= importlib.import_module(f"mufin_dagster.quality.{module}").TABLES
    return found


def build(source: Source, noun: str, table: str) -> pd.DataFrame:
    """One summary table.

    Raises:
        ArtefactError: the artefact does not exist.
        Exception: whatever reading damaged files raises; the validator reports it.
    """
    return tables(noun)[table](source).to_pandas()
