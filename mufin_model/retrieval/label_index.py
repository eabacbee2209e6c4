"""The labels' index: approximate over the tail, exact over head labels, whose candidates are united.

A head label lies near many items, so an approximate search that stops early loses whole rows of truth with it; there
are few of them, so exact search costs nothing (published code: labels of 1000 training items and more). Neither part
takes places from the other: each returns its full k. (The published search of head labels returned five, which then
had to compete with those of the approximate one.)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mufin_model.arrays import read_array
from mufin_model.config import Index as IndexSettings
from mufin_model.retrieval.index import FLAT, VectorIndex, best_first

HEAD = "head"
"""Folder of the head labels' index, absent where all labels are in one."""

ROWS = "rows.npy"
"""In it: the label of each row, int64 [L], the tail's rows first, then the head's."""


class LabelIndex:
    """Labels searched by cosine.

    Args:
        vectors: unit rows, float32 [L, D].
        counts: training items of each label, int [L].
        settings: kind of the tail's index, and from how many training items on a label is head.
    """

    def __init__(self, vectors: np.ndarray, counts: np.ndarray, settings: IndexSettings) -> None:
        is_head = counts >= settings.head_items if settings.head_items else np.zeros(len(counts), bool)
        self.head: VectorIndex | None = None
        if settings.kind == "flat" or not is_head.any():
            self.tail = VectorIndex(vectors, settings)
        elif is_head.all():
            self.tail = VectorIndex(vectors, FLAT)
        else:
            self.rows = np.concatenate([np.flatnonzero(~is_head), np.flatnonzero(is_head)])
            self.tail, self.head = VectorIndex(vectors[~is_head], settings), VectorIndex(vectors[is_head], FLAT)

    def __len__(self) -> int:
        return len(self.tail) + (len(self.head) if self.head is not None else 0)

    def width(self, k: int) -> int:
        """S of `search`."""
        return min(k, len(self.tail)) + (min(k, len(self.head)) if self.head is not None else 0)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest of the tail and the k nearest head labels.

        Returns:
            Scores float32 [B, S] and labels int64 [B, S], best first, of equal ones the lower label; label -1 and score
            -inf where fewer were found.
            S is k at most, and where head labels have an index of their own, up to k of them beside.
        """
        scores, labels = self.tail.search(queries, k)
        if self.head is not None:
            more, heads = self.head.search(queries, k)
            labels = np.where(labels >= 0, self.rows[labels], -1)
            scores = np.concatenate([scores, more], axis=1)
            labels = np.concatenate([labels, self.rows[len(self.tail) + heads]], axis=1)
        scores = np.where(labels >= 0, scores, -np.inf)
        return (scores, labels) if self.head is None else best_first(scores, labels)

    def save(self, folder: Path) -> None:
        """Write index.faiss, and head/ where there is a head."""
        self.tail.save(folder)
        if self.head is not None:
            (folder / HEAD).mkdir()
            self.head.save(folder / HEAD)
            np.save(folder / HEAD / ROWS, self.rows)

    @classmethod
    def load(cls, folder: Path) -> LabelIndex:
        """Read what `save` wrote.

        Raises:
            ArtefactError: it is missing or damaged.
        """
        made = cls.__new__(cls)
        made.tail, made.head = VectorIndex.load(folder), None
        if (folder / HEAD).is_dir():
            made.head = VectorIndex.load(folder / HEAD)
            made.rows = read_array(folder / HEAD / ROWS, mend="mufin index")
        return made
