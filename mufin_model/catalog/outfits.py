"""Questions about outfits, which a catalogue may bring for evaluation; items and labels are the same products there.

fill_in_blank.parquet    question list[u32], answers list[u32], right u32: the place of the right one among the answers
compatibility.parquet    outfit list[u32], compatible bool

The numbers are item rows. Both files lie in raw_descriptors; neither does where there are no questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mufin_model.catalog.distrust import DAMAGED
from mufin_model.errors import ArtefactError, in_words

PRODUCTS = pl.List(pl.String)
ROWS = pl.List(pl.UInt32)
_TABLES: dict[str, dict[str, pl.DataType | type[pl.DataType]]] = {
    "fill_in_blank": {"question": ROWS, "answers": ROWS, "right": pl.UInt32},
    "compatibility": {"outfit": ROWS, "compatible": pl.Boolean},
}


@dataclass(frozen=True)
class Questions:
    """Both kinds; either table may be empty.

    Attributes:
        fill_in_blank: question (products of an outfit that lacks one), answers (products), right (place of the one
            that was there).
        compatibility: outfit (products), compatible (whether people put it together).
    """

    fill_in_blank: pl.DataFrame
    compatibility: pl.DataFrame

    def write(self, folder: Path, items: pl.Series) -> dict[str, int]:
        """Write both tables of ids as tables of rows.

        Args:
            folder: raw_descriptors.
            items: the ids of the items, which every product is among.

        Returns:
            how many questions of each kind there are.
        """
        rows = {id_: row for row, id_ in enumerate(items)}
        tables = {"fill_in_blank": self.fill_in_blank, "compatibility": self.compatibility}
        for name, table in tables.items():
            numbered = [
                table[column].list.eval(pl.element().replace_strict(rows, return_dtype=pl.UInt32))
                for column, kind in _TABLES[name].items()
                if kind == ROWS
            ]
            table = table.with_columns(numbered).cast(_TABLES[name])  # type: ignore[arg-type]
            table.write_parquet(folder / f"{name}.parquet", compression="zstd", statistics=False)
        return {name: table.height for name, table in tables.items()}


def read(folder: Path) -> Questions | None:
    """The questions of raw_descriptors, by item rows; None where there are none.

    Raises:
        ArtefactError: a file is damaged, or the other one is missing.
    """
    if not any((folder / f"{name}.parquet").is_file() for name in _TABLES):
        return None
    return Questions(_read(folder, "fill_in_blank"), _read(folder, "compatibility"))


def _read(folder: Path, name: str) -> pl.DataFrame:
    file, mend = folder / f"{name}.parquet", "run ingest again"
    try:
        table = pl.read_parquet(file)
    except DAMAGED as error:
        raise ArtefactError(f"cannot read {name}: {in_words(error)}", where=str(file), mend=mend) from error
    if dict(table.schema) != _TABLES[name]:
        raise ArtefactError(f"{name} holds {dict(table.schema)}", where=str(file), mend=mend)
    return table
