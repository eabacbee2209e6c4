"""Summary tables of pretrained_model: weights, vectors of items and labels, their drift since the release."""

from __future__ import annotations

import polars as pl

from mufin_dagster.quality import raw_descriptors
from mufin_dagster.quality.frames import Source, Table, eras
from mufin_dagster.quality.vectors import centrality, curve, summary, vectors, weights
from mufin_model.arrays import read_array

NOUN = "pretrained_model"
ITEMS, LABELS = "item_embeddings.npy", "label_embeddings.npy"


def arrays(source: Source) -> pl.DataFrame:
    """One row a file: file, expected and found (rows), variance and rank (of its vectors)."""
    owners = {ITEMS: raw_descriptors.items_of(source), LABELS: raw_descriptors.labels_of(source)}
    found = {file: summary(source, NOUN, file) for file in owners}
    return pl.DataFrame(
        {
            "file": list(owners),
            "expected": [owner.height for owner in owners.values()],
            "found": [len(told.norm) for told in found.values()],
            "variance": [told.variance for told in found.values()],
            "rank": [told.rank for told in found.values()],
        }
    )


def item_vectors(source: Source) -> pl.DataFrame:
    """One row an item: row, id, norm, not_finite."""
    return vectors(summary(source, NOUN, ITEMS), raw_descriptors.items_of(source).select("id"))


def label_vectors(source: Source) -> pl.DataFrame:
    """One row a label: row, id, norm, not_finite."""
    return vectors(summary(source, NOUN, LABELS), raw_descriptors.labels_of(source).select("id"))


def _drift(file: str) -> Table:
    def table(source: Source) -> pl.DataFrame:
        """One row a vector of this version and of the release: era, cosine with its version's mean."""
        now = centrality(read_array(source.folder(NOUN) / file, mmap=True))
        released = source.released(f"{NOUN}/{file}")
        return eras("cosine", now, None if released is None else centrality(read_array(released, mmap=True)))

    return table


TABLES: dict[str, Table] = {
    "weights": lambda source: weights(source, NOUN),
    "curve": lambda source: curve(source, NOUN),
    "arrays": arrays,
    "item_vectors": item_vectors,
    "label_vectors": label_vectors,
    "item_drift": _drift(ITEMS),
    "label_drift": _drift(LABELS),
}
