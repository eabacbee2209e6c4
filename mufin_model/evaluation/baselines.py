"""Baselines that a newcomer would try first, fitted on all items that are no test items.

Each returns CSR scores float32 [n_test, L] with at most `depth` labels a row. They are scikit-learn's own
estimators, so that the reported gain is over something the reader can reproduce in ten lines.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, diags, vstack

from mufin_model.catalog.catalog import Catalog
from mufin_model.encoders.sentences import pretrained_sentences
from mufin_model.encoders.tfidf import text_features
from mufin_model.evaluation.metrics import keep_top
from mufin_model.progress import say

NEIGHBOURS = 20
"""Training items whose labels a test item inherits; 10, 20 and 50 give the same P@1 within 1.5 points."""

PAIRS_LIMIT = 2_000_000_000
"""Test items x training items beyond which nearest neighbours by scikit-learn would take many minutes."""

ONE_VS_ALL_LIMIT = 100_000_000
"""Training items x labels beyond which one classifier a label would take many minutes; about 0.4 CPU-s a million."""

CONVERGED_LIMIT = 5_000_000
"""The same beyond which each classifier makes EPOCHS passes over the items, in place of as many as it takes: on a small
catalogue that costs it five points of P@1."""

EPOCHS = 3

ROWS = 512
"""Test items at once, which bounds the memory of their similarities."""


@dataclass(frozen=True)
class Task:
    """What a baseline is given.

    Attributes:
        texts, links: of the T training items; links CSR [T, L], their values the weights of the links.
        test_texts: of the test items.
        depth: scores kept a row.
        seed: of the one-vs-all classifiers' order of items.
    """

    texts: Sequence[str]
    links: csr_matrix
    test_texts: Sequence[str]
    depth: int
    seed: int = 0


def fit_all(
    catalog: Catalog, depth: int, seed: int, encoded: Path | None = None
) -> tuple[dict[str, csr_matrix], dict[str, str]]:
    """Every baseline's scores of the test items.

    Args:
        catalog: the descriptors and links.
        depth: scores kept a row.
        seed: of random choices.
        encoded: the artefact `encoder_embeddings`; where its weights are pretrained, text embeddings are a baseline.

    Returns:
        scores by name, and for each baseline that was left out, why.
    """
    rows, test = np.concatenate([catalog.rows("train"), catalog.rows("val")]), catalog.rows("test")
    texts = catalog.items["text"].to_list()
    links = vstack([catalog.weighted("train"), catalog.weighted("val")], format="csr")
    task = Task([texts[row] for row in rows], links, [texts[row] for row in test], depth, seed)
    scores = {"popularity": popularity(task)}
    skipped: dict[str, str] = {}
    kinds = ["tfidf_knn", "tfidf_one_vs_all"]
    if len(task.texts) * len(test) > PAIRS_LIMIT:
        reason = f"{len(task.texts):,} x {len(test):,} pairs of items are beyond its limit of {PAIRS_LIMIT:,}"
        skipped |= {"tfidf_knn": reason, "image_knn": reason}
        kinds.remove("tfidf_knn")
    if links.shape[0] * links.shape[1] > ONE_VS_ALL_LIMIT:
        skipped["tfidf_one_vs_all"] = (
            f"{links.shape[0]:,} items x {links.shape[1]:,} labels are beyond its limit of {ONE_VS_ALL_LIMIT:,}"
        )
        kinds.remove("tfidf_one_vs_all")
    if kinds:
        train, tested = text_features(task.texts, task.test_texts)
        if train is None:
            skipped |= dict.fromkeys(kinds, "no item has a text")
        else:
            if "tfidf_knn" in kinds:
                scores["tfidf_knn"] = text_neighbours(task, train, tested)
            if "tfidf_one_vs_all" in kinds:
                scores["tfidf_one_vs_all"] = one_vs_all(task, train, tested)
    sentences = None if encoded is None else pretrained_sentences(encoded)
    if sentences is not None and "tfidf_knn" not in skipped:
        scores["sentence_knn"] = text_neighbours(task, csr_matrix(sentences[rows]), csr_matrix(sentences[test]))
    if "image_knn" not in skipped:
        if len(catalog.images) == 0:
            skipped["image_knn"] = "there are no images"
        else:
            from mufin_model.encoders.picture_features import item_features

            features, has = item_features(catalog)
            scores["image_knn"] = image_neighbours(task, features[rows], has[rows], features[test], has[test])
    for name, reason in skipped.items():
        say(f"{name} left out: {reason}")
    return scores, skipped


def popularity(task: Task) -> csr_matrix:
    """Every item gets the most frequent labels, scored by their share of the training items."""
    counts = np.asarray(task.links.sum(axis=0)).ravel()
    row = keep_top(csr_matrix(counts / max(1, task.links.shape[0])), task.depth)
    n = len(task.test_texts)
    cells = (np.tile(row.data, n), np.tile(row.indices, n), np.arange(n + 1) * row.nnz)
    return csr_matrix(cells, shape=(n, task.links.shape[1]))


def text_neighbours(task: Task, train: csr_matrix, test: csr_matrix) -> csr_matrix:
    """k nearest training items by TF-IDF cosine; a label's score is the sum of its items' cosines."""
    parts = [
        keep_top(keep_top((test[part] @ train.T).tocsr(), NEIGHBOURS) @ task.links, task.depth)
        for part in _parts(test.shape[0])
    ]
    return _stack(parts, task)


def one_vs_all(task: Task, train: csr_matrix, test: csr_matrix) -> csr_matrix:
    """A linear SVM a label on the TF-IDF vectors; the score is its margin.

    `LinearSVC`, or above CONVERGED_LIMIT its hinge loss by stochastic steps (`SGDClassifier`).
    """
    from sklearn.linear_model import SGDClassifier
    from sklearn.svm import LinearSVC

    n, n_labels = task.links.shape
    columns = task.links.tocsc()
    weights, bias = np.zeros((n_labels, train.shape[1]), np.float32), np.full(n_labels, -1.0, np.float32)
    few = n * n_labels > CONVERGED_LIMIT
    model = (
        SGDClassifier(alpha=1e-5, max_iter=EPOCHS, tol=None, random_state=task.seed)
        if few
        else LinearSVC(C=1.0, random_state=task.seed)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that so few passes have not converged is intended
        for label in range(n_labels):
            positive = np.zeros(n, bool)
            positive[columns.indices[columns.indptr[label] : columns.indptr[label + 1]]] = True
            if positive.any() and not positive.all():
                model.fit(train, positive)
                weights[label], bias[label] = model.coef_[0], model.intercept_[0]
    parts = [keep_top(csr_matrix(test[part] @ weights.T + bias), task.depth) for part in _parts(test.shape[0])]
    return _stack(parts, task)


def image_neighbours(
    task: Task,
    train: npt.NDArray[np.float32],
    train_has: npt.NDArray[np.bool_],
    test: npt.NDArray[np.float32],
    test_has: npt.NDArray[np.bool_],
) -> csr_matrix:
    """k nearest training items by the cosine of hand-made picture features; without images, popularity.

    Args:
        task: links and depth.
        train, test: [T, F] and [n_test, F] features.
        train_has, test_has: True where an item has images.
    """
    from sklearn.neighbors import NearestNeighbors

    result = popularity(task)
    rows, known = np.flatnonzero(test_has), np.flatnonzero(train_has)
    if not len(rows) or not len(known):
        return result
    k = min(NEIGHBOURS, len(known))
    distances, near = (
        NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(train[known]).kneighbors(test[rows])
    )
    # the similarity is centred on the k-th neighbour's: raw cosines of pictures are all close to one
    cells = (1e-3 + distances[:, -1:] - distances).astype(np.float32).ravel()
    similarity = csr_matrix(
        (cells, (np.repeat(rows, k), known[near].ravel())), shape=(len(test_has), task.links.shape[0])
    )
    found = keep_top(csr_matrix(similarity @ task.links), task.depth)
    return csr_matrix(diags((~test_has).astype(np.float32)) @ result + found)


def _parts(n: int) -> Iterator[slice]:
    return (slice(start, start + ROWS) for start in range(0, n, ROWS))


def _stack(parts: list[csr_matrix], task: Task) -> csr_matrix:
    return vstack(parts, format="csr") if parts else csr_matrix((0, task.links.shape[1]), dtype=np.float32)
