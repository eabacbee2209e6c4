"""Nearest vectors by inner product on faiss: exact, HNSW and IVF behind one protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np

from mufin_model.config import Index as IndexSettings
from mufin_model.errors import ArtefactError

FILE = "index.faiss"

FLAT = IndexSettings.model_construct(kind="flat")
"""Exact search."""


class VectorIndex:
    """Rows of unit vectors, searched by cosine.

    Args:
        vectors: unit rows, float32 [n, D].
        settings: kind and its effort.
    """

    def __init__(self, vectors: np.ndarray, settings: IndexSettings) -> None:
        n, dimension = vectors.shape
        index: Any
        inner = faiss.METRIC_INNER_PRODUCT
        if settings.kind == "hnsw":
            index = faiss.IndexHNSWFlat(dimension, settings.hnsw_links, inner)
            index.hnsw.efConstruction = index.hnsw.efSearch = settings.hnsw_effort
        elif settings.kind == "ivf":
            # About 4·sqrt(n) lists, of 39 training points each at least, as faiss advises.
            lists = max(1, min(int(4 * n**0.5), n // 39))
            index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, lists, inner)
            index.cp.seed = 1
            index.train(vectors)
            index.nprobe = min(settings.ivf_probes, lists)
        else:
            index = faiss.IndexFlatIP(dimension)
        index.add(vectors)
        self.faiss: Any = index

    def __len__(self) -> int:
        return self.faiss.ntotal

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores float32 [B, k] and rows int64 [B, k], best first; row -1 where fewer than k were found."""
        scores, rows = self.faiss.search(np.ascontiguousarray(queries, np.float32), min(k, len(self)))
        return scores, rows

    def save(self, folder: Path) -> None:
        faiss.write_index(self.faiss, str(folder / FILE))

    @classmethod
    def load(cls, folder: Path) -> VectorIndex:
        """Read what `save` wrote.

        Raises:
            ArtefactError: it is missing or damaged.
        """
        made = cls.__new__(cls)
        try:
            made.faiss = faiss.read_index(str(folder / FILE))
        except RuntimeError as error:
            raise ArtefactError("the index does not load", where=str(folder / FILE), mend="mufin index") from error
        return made
