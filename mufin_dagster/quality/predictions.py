"""Summary tables of predictions: each file of scores, each test item's, and which labels come first."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix, load_npz

from mufin_dagster.quality import evidence, raw_descriptors
from mufin_dagster.quality.frames import Source, Table

NOUN = "predictions"
FUSED, ZERO_SHOT = "mufin.npz", "zero_shot.npz"

ENOUGH = 5
"""Labels of an item, as P@5 asks."""


def files(source: Source) -> pl.DataFrame:
    """One row a file: file, expected and found (shape), not_finite (scores), unknown (labels that do not exist,
    padding among them), repeated (labels of one item), filtered (pairs that the catalogue excludes)."""
    catalog = raw_descriptors.catalog(source)
    filters, n_test = catalog.filters("test"), len(catalog.rows("test"))
    rows = []
    for name in sorted({FUSED, ZERO_SHOT} | {path.name for path in source.folder(NOUN).glob("*.npz")}):
        width = catalog.n_labels - catalog.n_seen if name == ZERO_SHOT else catalog.n_seen
        expected = f"{n_test} x {width}"
        if not (source.folder(NOUN) / name).is_file():
            rows.append((name, expected, "missing", 0, 0, 0, 0))
            continue
        scores = _scores(source, name)
        of, labels = _pairs(scores)
        keys = of * (2**32) + labels
        excluded = np.repeat(np.arange(filters.shape[0]), np.diff(filters.indptr)) * 2**32 + filters.indices
        rows.append(
            (
                name,
                expected,
                " x ".join(map(str, scores.shape)),
                int((~np.isfinite(scores.data)).sum()),
                int(((labels < 0) | (labels >= width)).sum()),
                len(keys) - len(np.unique(keys)),
                0 if name == ZERO_SHOT else int(np.isin(keys, excluded).sum()),
            )
        )
    columns = ["file", "expected", "found", "not_finite", "unknown", "repeated", "filtered"]
    return pl.DataFrame(rows, columns, orient="row")


def items(source: Source) -> pl.DataFrame:
    """One row a test item: row, id, scored (labels that it got in the fused scores), short (labels it lacks to ENOUGH,
    or to all that it may get where these are fewer)."""
    catalog = raw_descriptors.catalog(source)
    rows, counts = catalog.rows("test"), np.diff(_scores(source, FUSED).indptr)
    n = min(len(rows), len(counts))
    allowed = np.minimum(ENOUGH, catalog.n_seen - np.diff(catalog.filters("test").indptr))
    short = np.maximum(0, allowed[:n] - counts[:n])
    return pl.DataFrame(
        {"row": rows[:n], "id": catalog.items["id"].gather(rows[:n]), "scored": counts[:n], "short": short}
    )


def first_labels(source: Source) -> pl.DataFrame:
    """One row a label that is some test item's best: row, id, items, share (of the test items), surely (what of this
    share is more than chance)."""
    catalog, scores = raw_descriptors.catalog(source), _scores(source, FUSED)
    of, labels = _pairs(scores)
    real = (labels >= 0) & (labels < catalog.n_seen)
    best = (
        pl.DataFrame({"item": of[real], "row": labels[real], "score": scores.data[real]})
        .sort("score", descending=True, maintain_order=True)
        .unique("item", keep="first")
        .group_by("row")
        .agg(pl.len().alias("items"))
        .sort("items", "row", descending=[True, False])
    )
    return best.with_columns(
        id=catalog.labels["id"].gather(best["row"]),
        share=pl.col("items") / max(1, scores.shape[0]),
        surely=pl.Series(evidence.at_least(best["items"].to_numpy(), scores.shape[0]), dtype=pl.Float64),
    )


TABLES: dict[str, Table] = {"files": files, "items": items, "first_labels": first_labels}


def _scores(source: Source, name: str) -> csr_matrix:
    path = source.folder(NOUN) / name
    return source.once(path, lambda: csr_matrix(load_npz(path)))


def _pairs(scores: csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each entry, int64."""
    of = np.repeat(np.arange(scores.shape[0], dtype=np.int64), np.diff(scores.indptr))
    return of, scores.indices.astype(np.int64)
