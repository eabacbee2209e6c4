"""Summary tables of encoder_embeddings: length and non-finite values of each vector, shape of each array.

image.npy [n_images, d_v] and text.npy [n_items + n_labels, d_t] (items' texts first); an empty text's row is zero.
"""

from __future__ import annotations

import polars as pl

from mufin_dagster.quality import raw_descriptors
from mufin_dagster.quality.frames import Source, Table
from mufin_dagster.quality.vectors import summary, vectors

NOUN = "encoder_embeddings"


def image_vectors(source: Source) -> pl.DataFrame:
    """One row an image: row, norm, not_finite."""
    return vectors(summary(source, NOUN, "image.npy"))


def text_vectors(source: Source) -> pl.DataFrame:
    """One row a text that is not empty: row, norm, not_finite, of (item or label), id."""
    return _text_vectors(source).filter(pl.col("text") != "").drop("text")


def empty_texts(source: Source) -> pl.DataFrame:
    """As `text_vectors`, of the empty texts."""
    return _text_vectors(source).filter(pl.col("text") == "").drop("text")


def arrays(source: Source) -> pl.DataFrame:
    """One row a file: file, expected and found (rows), variance (of its vectors)."""
    images, texts = summary(source, NOUN, "image.npy"), summary(source, NOUN, "text.npy")
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


def _text_vectors(source: Source) -> pl.DataFrame:
    return vectors(summary(source, NOUN, "text.npy"), _texts(source))


def _texts(source: Source) -> pl.DataFrame:
    parts = [
        source.parquet(raw_descriptors.NOUN, file).select(
            pl.lit(of).alias("of"), pl.col("id"), pl.col("text").fill_null("")
        )
        for of, file in (("item", "items.parquet"), ("label", "labels.parquet"))
    ]
    return pl.concat(parts)
