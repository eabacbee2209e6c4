"""The catalogue as every stage reads it: the artefact raw_descriptors, opened lazily.

catalog = Catalog.load(workspace.read("demo", "raw_descriptors"))
catalog.links("train")      # csr_matrix float32 [training items, seen labels]
catalog.images.image(0)     # PIL image
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix

from mufin_model.catalog.distrust import DAMAGED
from mufin_model.catalog.image_store import ImageStore
from mufin_model.catalog.links import ragged, restrict
from mufin_model.errors import ArtefactError, in_words

SPLITS = ("train", "val", "test")
_AGAIN = "run ingest again"
_BAG = pl.List(pl.UInt32)
_COLUMNS: dict[str, dict[str, pl.DataType | type[pl.DataType]]] = {
    "items": {"id": pl.String, "text": pl.String, "images": _BAG, "split": pl.String},
    "labels": {"id": pl.String, "text": pl.String, "images": _BAG, "zero_shot": pl.Boolean},
    "links": {"item": pl.UInt32, "label": pl.UInt32, "split": pl.String},
    "filters": {"item": pl.UInt32, "label": pl.UInt32},
}


class Catalog:
    """Items, labels, links and images of one dataset.

    Rows of `items` are item rows, rows of `labels` are label rows; seen labels come first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._links: dict[str, csr_matrix] = {}
        self._filters: dict[str, csr_matrix] = {}

    @classmethod
    def load(cls, folder: Path) -> Catalog:
        """Open an artefact of `ingest`; tables are read now, images when asked for.

        Raises:
            ArtefactError: a file is missing or damaged.
        """
        catalog = cls(folder)
        for table in (catalog.items, catalog.labels, catalog._pairs, catalog._removed):
            del table
        return catalog

    @cached_property
    def items(self) -> pl.DataFrame:
        """id, text, images list[u32], split."""
        return self._read("items")

    @cached_property
    def labels(self) -> pl.DataFrame:
        """id, text, images list[u32], zero_shot."""
        return self._read("labels")

    @cached_property
    def images(self) -> ImageStore:
        """All images, by row."""
        return ImageStore(self.folder / "images")

    @property
    def n_labels(self) -> int:
        """Labels, zero-shot ones included."""
        return self.labels.height

    @cached_property
    def n_seen(self) -> int:
        """Labels that occur in training; they are the first rows of `labels`."""
        return int((~self.labels["zero_shot"]).sum())

    def rows(self, split: str) -> np.ndarray:
        """The item rows of a split, int64 [n], ascending."""
        if split not in SPLITS:
            raise ValueError(f"no split {split!r}; there are {', '.join(SPLITS)}")
        return np.flatnonzero((self.items["split"] == split).to_numpy())

    def links(self, split: str) -> csr_matrix:
        """The true labels of a split's items.

        Args:
            split: 'train', 'val', 'test', or 'zero_shot' for the test items' zero-shot labels.

        Returns:
            ones, float32 [len(rows(split)), n_seen]; for 'zero_shot' [len(rows('test')), n_labels - n_seen].
        """
        if split not in self._links:
            self._links[split] = self._restrict(self._pairs.filter(pl.col("split") == split), split)
        return self._links[split]

    def weighted(self, split: str) -> csr_matrix:
        """`links(split)` with the weight of each link as a share of its item's heaviest one, above 0 and at most 1.

        Ones where the catalogue gives no weights. float32, of the shape and with the cells of `links(split)`.

        Raises:
            ArtefactError: a weight is no number above zero.
        """
        links = self.links(split)
        given = pl.read_parquet_schema(self.folder / "links.parquet")
        if "weight" not in given:
            return links
        weights = pl.read_parquet(self.folder / "links.parquet", columns=["item", "label", "split", "weight"])
        weights = weights.filter(pl.col("split") == split)
        if not weights["weight"].is_between(0, np.inf, closed="none").fill_null(False).all():
            raise ArtefactError(
                "a link's weight is no number above zero", where=str(self.folder / "links.parquet"), mend=_AGAIN
            )
        columns = range(self.n_seen, self.n_labels) if split == "zero_shot" else range(self.n_seen)
        found = restrict(weights, self.rows("test" if split == "zero_shot" else split), columns)
        heaviest = found.max(axis=1).toarray().ravel()
        found.data /= np.repeat(heaviest, np.diff(found.indptr)).astype(np.float32)
        return found

    @cached_property
    def has_weights(self) -> bool:
        """Whether the catalogue's links have weights that differ."""
        return any(bool((self.weighted(split).data != 1).any()) for split in SPLITS)

    def filters(self, split: str) -> csr_matrix:
        """Pairs to remove from predictions and truth, as a matrix of the shape of `links(split)`."""
        if split not in self._filters:
            self._filters[split] = self._restrict(self._removed, split)
        return self._filters[split]

    def label_counts(self) -> np.ndarray:
        """Training items of each seen label, int64 [n_seen]; validation items are not counted."""
        return np.bincount(self.links("train").indices, minlength=self.n_seen).astype(np.int64)

    def item_images(self) -> tuple[np.ndarray, np.ndarray]:
        """The images of each item: (offsets int64 [items + 1], rows of `images` int64 [nnz])."""
        return ragged(self.items["images"])

    def label_images(self) -> tuple[np.ndarray, np.ndarray]:
        """The images of each label: (offsets int64 [n_labels + 1], rows of `images` int64 [nnz])."""
        return ragged(self.labels["images"])

    @cached_property
    def _pairs(self) -> pl.DataFrame:
        return self._read("links")

    @cached_property
    def _removed(self) -> pl.DataFrame:
        return self._read("filters")

    def _restrict(self, pairs: pl.DataFrame, split: str) -> csr_matrix:
        if split == "zero_shot":
            return restrict(pairs, self.rows("test"), range(self.n_seen, self.n_labels))
        return restrict(pairs, self.rows(split), range(self.n_seen))

    def _read(self, name: str) -> pl.DataFrame:
        path, mend = self.folder / f"{name}.parquet", _AGAIN
        try:
            table = pl.read_parquet(path, columns=list(_COLUMNS[name]))
        except DAMAGED as error:
            raise ArtefactError(f"cannot read {name}: {in_words(error)}", where=str(path), mend=mend) from error
        if dict(table.schema) != _COLUMNS[name]:
            raise ArtefactError(f"{name} holds {dict(table.schema)}", where=str(path), mend=mend)
        return table
