"""Summary tables of encoder_embeddings: length and non-finite values of each vector, shape of each array.

image.npy [n_images, d_v] and text.npy [n_items + n_labels, d_t] (items' texts first); an empty text's row is zero.
Arrays stay on disk and are read in blocks of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from mufin_dagster.quality import raw_descriptors
from mufin_dagster.quality.frames import Source, Table

NOUN = "encoder_embeddings"
BLOCK = 65_536
"""Rows read at once: 50 MB at 192 coordinates of four bytes."""


@dataclass(frozen=True)
class Summary:
    """One pass over an array [n, d]."""

    norm: np.ndarray
    """Length of each row, float64 [n]; 0 where a value is not finite."""
    not_finite: np.ndarray
    """Values of each row that are NaN or infinite, int64 [n]."""
    variance: float
    """Mean squared distance of the non-zero finite rows from their mean; 1 where fewer than two are there."""


def image_vectors(source: Source) -> pl.DataFrame:
    """One row an image: row, norm, not_finite."""
    return _vectors(_summary(source, "image.npy"))


def text_vectors(source: Source) -> pl.DataFrame:
    """One row a text that is not empty: row, norm, not_finite, of (item or label), id."""
    return _text_vectors(source).filter(pl.col("text") != "").drop("text")


def empty_texts(source: Source) -> pl.DataFrame:
    """As `text_vectors`, of the empty texts."""
    return _text_vectors(source).filter(pl.col("text") == "").drop("text")


def arrays(source: Source) -> pl.DataFrame:
    """One row a file: file, expected and found (rows), variance (of its vectors)."""
    images, texts = _summary(source, "image.npy"), _summary(source, "text.npy")
    return pl.DataFrame(
        {
            "file": ["image.npy", "text.npy"],
            "expected": [len(raw_descriptors.image_store(source)), _texts(source).height],
            "found": [len(images.norm), len(texts.norm)],
            "variance": [images.variance, texts.variance],
        }
    )


TABLES: dict[str, Table] = {
    "image_vectors": image_vectors,
    "text_vectors": text_vectors,
    "empty_texts": empty_texts,
    "arrays": arrays,
}


def summarize(array: np.ndarray, block: int = BLOCK) -> Summary:
    """Reduce an array [n, d] to what the rules ask, a block of rows at a time."""
    n, d = array.shape
    norm, not_finite = np.zeros(n), np.zeros(n, dtype=np.int64)
    total, used, squares = np.zeros(d), 0, 0.0
    for start in range(0, n, block):
        rows = np.asarray(array[start : start + block], dtype=np.float64)
        bad = (~np.isfinite(rows)).sum(axis=1)
        # A NaN norm would be skipped as a null; a length of 0 is found by the rule on lengths too.
        lengths = np.where(bad == 0, np.sqrt(np.einsum("nd,nd->n", rows, rows)), 0.0)
        norm[start : start + block], not_finite[start : start + block] = lengths, bad
        kept = rows[lengths > 0]
        total += kept.sum(axis=0)
        squares += float((kept**2).sum())
        used += len(kept)
    variance = squares / used - float(((total / used) ** 2).sum()) if used > 1 else 1.0
    return Summary(norm, not_finite, variance)


def _summary(source: Source, file: str) -> Summary:
    path = source.folder(NOUN) / file
    return source.once(path, lambda: summarize(np.load(path, mmap_mode="r")))


def _vectors(summary: Summary) -> pl.DataFrame:
    return pl.DataFrame({"norm": summary.norm, "not_finite": summary.not_finite}).with_row_index("row")


def _text_vectors(source: Source) -> pl.DataFrame:
    # Rows beyond the shorter of the two are the rule rows_match's to report.
    vectors, texts = _vectors(_summary(source, "text.npy")), _texts(source)
    n = min(vectors.height, texts.height)
    return pl.concat([vectors.head(n), texts.head(n)], how="horizontal")


def _texts(source: Source) -> pl.DataFrame:
    parts = [
        source.parquet(raw_descriptors.NOUN, file).select(
            pl.lit(of).alias("of"), pl.col("id"), pl.col("text").fill_null("")
        )
        for of, file in (("item", "items.parquet"), ("label", "labels.parquet"))
    ]
    return pl.concat(parts)
