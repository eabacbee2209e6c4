"""Summary tables of anns_index: its vectors, and what a search finds of what exact search would."""

from __future__ import annotations

import numpy as np
import polars as pl

from mufin_dagster.quality import pretrained_model, raw_descriptors
from mufin_dagster.quality.frames import Source, Table
from mufin_dagster.quality.vectors import blocks, summary, vectors
from mufin_model.arrays import read_array
from mufin_model.retrieval.label_index import LabelIndex

NOUN = "anns_index"
LABELS = "labels.npy"
SAMPLE, SEED, NEAREST = 500, 22, 10

TIE = 1e-4
"""Cosine: a label this little farther than the tenth counts as found, for which of equal ones is tenth is chance."""


def arrays(source: Source) -> pl.DataFrame:
    """One row a file: file, expected and found (labels)."""
    labels = raw_descriptors.labels_of(source)
    return pl.DataFrame(
        {
            "file": [LABELS, "index.faiss"],
            "expected": [labels.height, int((~labels["zero_shot"]).sum())],
            "found": [len(summary(source, NOUN, LABELS).norm), len(_index(source))],
        }
    )


def label_vectors(source: Source) -> pl.DataFrame:
    """One row a label: row, id, norm, not_finite."""
    return vectors(summary(source, NOUN, LABELS), raw_descriptors.labels_of(source).select("id"))


def queries(source: Source) -> pl.DataFrame:
    """One row a sampled item: row, id, recall (share that the index finds of the 10 nearest seen labels; of fewer
    where 10 were more than half of all, which any search would find)."""
    index, items = _index(source), raw_descriptors.items_of(source)
    vectors_of = read_array(source.folder(pretrained_model.NOUN) / pretrained_model.ITEMS, mmap=True)
    chosen = np.sort(np.random.default_rng(SEED).permutation(min(items.height, len(vectors_of)))[:SAMPLE])
    asked = np.asarray(vectors_of[chosen], np.float32)
    labels = read_array(source.folder(NOUN) / LABELS, mmap=True)[: len(index)]
    k = min(NEAREST, max(1, len(labels) // 2))
    exact = _nearest_scores(asked, labels, k)
    _, found = index.search(asked, k)
    found = found[:, :k]
    safe = found.clip(0, len(labels) - 1)
    # Their scores by the vectors of labels.npy, not by the index: an index of other vectors must fail.
    scores = np.einsum("bd,bkd->bk", asked, np.asarray(labels[safe.ravel()]).reshape(*safe.shape, -1))
    hits = (found == safe) & (scores >= exact[:, -1:] - TIE)
    recall = hits.sum(1) / k
    return pl.DataFrame({"row": chosen, "id": items["id"].gather(chosen), "recall": recall})


TABLES: dict[str, Table] = {"arrays": arrays, "label_vectors": label_vectors, "queries": queries}


def _index(source: Source) -> LabelIndex:
    return source.once((NOUN, "index"), lambda: LabelIndex.load(source.folder(NOUN)))


def _nearest_scores(asked: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Cosines of the k nearest labels, best first, [B, k]; a block of labels at a time."""
    best = np.empty((len(asked), 0), np.float32)
    for part in blocks(labels):
        best = np.concatenate([best, asked @ np.asarray(labels[part], np.float32).T], axis=1)
        best = -np.partition(-best, min(k, best.shape[1]) - 1, axis=1)[:, :k]
    return -np.sort(-best, axis=1)
