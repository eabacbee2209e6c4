"""How much of a catalogue settings may leave out: beyond `ingest.max_dropped` of a kind, ingest is refused."""

from __future__ import annotations

import polars as pl

from mufin_model.catalog.faults import apart
from mufin_model.catalog.schema import Source, Tables
from mufin_model.errors import CatalogError
from mufin_model.progress import say


def refuse_lost_links(source: Source, tables: Tables, most: float) -> None:
    """Refuse where settings leave out most links of a table, or all links of most labels; say what filters take.

    Raises:
        CatalogError: they do.
    """
    for name, dropped in tables.dropped_links.items():
        hint = "look at ingest.keep_links, or raise ingest.max_dropped"
        what = f"links of {name} are left out by ingest.keep_links"
        _refuse(dropped, source.tables[name].height, what, source.files.get(name, name), most, hint)
    filtered = tables.links.join(tables.filters, on=["item", "label"], how="semi")
    total, lost = (int((table["split"] == "test").sum()) for table in (tables.links, filtered))
    if too_many(lost, total, most):  # said, not refused: pairs that training knows the other way round may be many
        say(f"{lost:,} of {total:,} links of test are filtered away: only the others are measured by")
    if any(tables.dropped_links.values()):
        seen = tables.labels.filter(~pl.col("zero_shot")).height
        linked = tables.links.filter(pl.col("split") == "train")["label"].n_unique()
        hint = "look at ingest.keep_links, or raise ingest.max_dropped"
        what = "labels have no training link left after ingest.keep_links"
        _refuse(seen - linked, seen, what, source.files.get("train", "train"), most, hint)


def too_many(count: int, total: int, most: float) -> bool:
    """Whether so many of so many are more than the share that may be left out."""
    return count > most * total


def _refuse(count: int, total: int, what: str, where: str, most: float, hint: str) -> None:
    if too_many(count, total, most):
        with apart():
            raise CatalogError(
                f"{count:,} of {total:,} {what}; at most {most:.0%} may be (ingest.max_dropped)", where=where, mend=hint
            )
