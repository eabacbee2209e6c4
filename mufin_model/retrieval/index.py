"""Nearest vectors by inner product on faiss: exact, HNSW and IVF behind one protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np

from mufin_model.config import Index as IndexSettings
from mufin_model.errors import ArtefactError
from mufin_model.ranking import DIGITS

FILE = "index.faiss"

FLAT = IndexSettings.model_construct(kind="flat")
"""Exact search."""

EQUAL = 10.0**-DIGITS
"""Cosines that differ by no more are equal: above what the order of a sum changes, which is below 1e-6."""

CELLS = 4_000_000
"""Cosines at once where the tie at the cut is settled, which bounds the memory: 16 MB, and as much for counting."""


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
        """The k nearest rows; of equal cosines the lower row, in exact search also at the cut.

        (An approximate search knows no rows but those it found, so that it has no say of a tie at its cut.)

        Returns:
            Scores float32 [B, k] and rows int64 [B, k], best first; row -1 where fewer than k were found.
        """
        queries, n = np.ascontiguousarray(queries, np.float32), len(self)
        k = min(k, n)
        scores, rows = self.faiss.search(queries, min(k + 1, n))
        if k < n and isinstance(self.faiss, faiss.IndexFlat):
            tied = np.flatnonzero(scores[:, k - 1] - scores[:, k] <= EQUAL)
            scores, rows = scores[:, :k].copy(), rows[:, :k].copy()
            size = max(1, CELLS // n)
            for some in (tied[at : at + size] for at in range(0, len(tied), size)):
                scores[some], rows[some] = self._settled(queries[some], k)
        return best_first(scores[:, :k], rows[:, :k])

    def _settled(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores and rows [B, k] in ascending order of the rows: all that are clearly nearer than the k-th, and of
        those that are equal to it the first."""
        n = len(self)
        vectors = faiss.rev_swig_ptr(self.faiss.get_xb(), n * self.faiss.d).reshape(n, -1)
        cosines = queries @ vectors.T
        last = np.partition(cosines, n - k, axis=1)[:, n - k, None]
        nearer = cosines > last + EQUAL
        equal = ~nearer & (cosines >= last - EQUAL)
        room = k - nearer.sum(1, keepdims=True)
        taken = nearer | (equal & (equal.cumsum(1, dtype=np.int32) <= room))
        rows = np.nonzero(taken)[1].reshape(-1, k)
        return np.take_along_axis(cosines, rows, 1), rows

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


def best_first(scores: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each line by score, of equal ones the lower row first, with the highest of their scores.

    Scores are equal where each is within EQUAL of the one before: a comparison by rounded scores would tell apart equal
    ones on two sides of a rounding's edge.

    Args:
        scores: [B, k]; rows: [B, k], -1 where nothing was found.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    scores, rows = np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
    lower = np.zeros(scores.shape, dtype=bool)
    lower[:, 1:] = scores[:, 1:] < scores[:, :-1] - EQUAL
    first = np.maximum.accumulate(np.where(lower, np.arange(scores.shape[1]), 0), axis=1)
    order = np.lexsort((rows, first), axis=1)
    return np.take_along_axis(scores, first, 1), np.take_along_axis(rows, order, 1)
