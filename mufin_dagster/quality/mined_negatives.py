"""Summary tables of mined_negatives: each training item's shortlist, and how often each label is on one."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix

from mufin_dagster.quality import raw_descriptors
from mufin_dagster.quality.frames import Source, Table
from mufin_model.arrays import read_array
from mufin_model.catalog.links import contains

NOUN = "mined_negatives"
FILES = ("labels.npy", "scores.npy", "positive.npy")
BLOCK = 16_384
"""Training items looked at at once: 100 MB at shortlists of 100."""


def arrays(source: Source) -> pl.DataFrame:
    """One row a file: file, expected and found (its shape)."""
    items, shapes = len(raw_descriptors.catalog(source).rows("train")), [_read(source, file).shape for file in FILES]
    return pl.DataFrame(
        {
            "file": FILES,
            "expected": [f"{items} x {shapes[0][-1]}"] * len(FILES),
            "found": [" x ".join(map(str, shape)) for shape in shapes],
        }
    )


def shortlists(source: Source) -> pl.DataFrame:
    """One row a training item: row, id, unknown (labels that do not exist), repeated, mismarked (positives not marked
    and others marked), not_finite (scores), negatives, linked (its labels), found (of these)."""
    return source.once((NOUN, "shortlists"), lambda: _shortlists(source))


def linked_shortlists(source: Source) -> pl.DataFrame:
    """`shortlists` of the items that have a label."""
    return shortlists(source).filter(pl.col("linked") > 0)


def labels(source: Source) -> pl.DataFrame:
    """One row a seen label: row, id, shortlisted (training items on whose shortlist it is as a negative)."""
    catalog = raw_descriptors.catalog(source)
    counts = np.zeros(catalog.n_seen, np.int64)
    chosen, positive = _read(source, "labels.npy"), _read(source, "positive.npy")
    for at in range(0, len(chosen), BLOCK):
        some = np.asarray(chosen[at : at + BLOCK])
        real = (some >= 0) & (some < catalog.n_seen) & ~np.asarray(positive[at : at + BLOCK])
        counts += np.bincount(some[real], minlength=catalog.n_seen)
    return pl.DataFrame({"id": catalog.labels["id"].head(catalog.n_seen), "shortlisted": counts}).with_row_index("row")


TABLES: dict[str, Table] = {
    "arrays": arrays,
    "shortlists": shortlists,
    "linked_shortlists": linked_shortlists,
    "labels": labels,
}


def _shortlists(source: Source) -> pl.DataFrame:
    catalog = raw_descriptors.catalog(source)
    rows, truth = catalog.rows("train"), catalog.links("train")
    chosen, scores, positive = (_read(source, file) for file in FILES)
    # Rows beyond the shortest are the rule rows_match's to report.
    n = min(len(rows), len(chosen), len(scores), len(positive))
    rows, truth = rows[:n], truth[:n]
    parts = [
        _judge(truth[at : at + BLOCK], *(np.asarray(a[at : min(n, at + BLOCK)]) for a in (chosen, scores, positive)))
        for at in range(0, n, BLOCK)
    ]
    owners = pl.DataFrame({"row": rows, "id": catalog.items["id"].gather(rows)})
    return pl.concat([owners, pl.concat(parts)], how="horizontal")


def _judge(truth: csr_matrix, labels: np.ndarray, scores: np.ndarray, positive: np.ndarray) -> pl.DataFrame:
    real = labels >= 0
    unknown = (labels < -1) | (labels >= truth.shape[1])
    known = np.where(unknown, -1, labels)
    relevant = contains(truth, known)
    ordered = np.sort(labels, axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    return pl.DataFrame(
        {
            "unknown": unknown.sum(1),
            "repeated": repeated.sum(1),
            "mismarked": (positive != relevant).sum(1),
            "not_finite": (real & ~np.isfinite(scores)).sum(1),
            "negatives": (real & ~unknown & ~relevant).sum(1),
            "linked": np.diff(truth.indptr).astype(np.int64),
            "found": relevant.sum(1),
        }
    )


def _read(source: Source, file: str) -> np.ndarray:
    return read_array(source.folder(NOUN) / file, mmap=True)
