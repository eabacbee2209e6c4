"""Test items with what was predicted for them, for the report's reader to judge by eye."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from mufin_model.catalog.catalog import Catalog
from mufin_model.evaluation.metrics import top_k

SHOWN = 5
"""Predicted labels of an item."""

MISSED = 8
"""True labels that were not predicted, shown at most."""

PICTURES = 4
"""Images of an item, shown at most."""


@dataclass(frozen=True)
class Guess:
    """One predicted label; `bar` is its score in per cent of the item's best."""

    text: str
    right: bool
    bar: float


@dataclass(frozen=True)
class Card:
    """One test item: its pictures as data URIs, what was predicted, what was missed."""

    id: str
    text: str
    pictures: list[str]
    guesses: list[Guess]
    missed: list[str]
    more_missed: int


def choose(right_first: np.ndarray, has_truth: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Rows of test items, half of them with a right first label, in a random order that the seed fixes."""
    rng = np.random.default_rng(seed)
    right = rng.permutation(np.flatnonzero(has_truth & right_first))
    wrong = rng.permutation(np.flatnonzero(has_truth & ~right_first))
    from_wrong = min(len(wrong), max(n // 2, n - len(right)))
    return rng.permutation(np.concatenate([right[: n - from_wrong], wrong[:from_wrong]]))


def cards(catalog: Catalog, scores: csr_matrix, truth: csr_matrix, rows: np.ndarray) -> list[Card]:
    """One card for each of `rows`, rows of `scores` and `truth`, both CSR [test items, seen labels]."""
    names = catalog.labels["text"].to_list()
    ids = catalog.labels["id"].to_list()
    found, values = top_k(scores[rows], SHOWN)
    test = catalog.rows("test")
    shown = []
    for row, labels, strengths in zip(rows, found, values, strict=True):
        item = catalog.items.row(int(test[row]), named=True)
        true = truth.indices[truth.indptr[row] : truth.indptr[row + 1]]
        real = labels >= 0
        labels, strengths = labels[real], strengths[real]
        # fused scores are standardised and may be negative: their order and gaps are shown from the lowest
        low, high = (strengths[-1], strengths[0]) if len(strengths) else (0.0, 0.0)
        heights = 25 + 75 * (strengths - low) / (high - low) if high > low else np.full(len(labels), 100.0)
        missed = sorted(set(true.tolist()) - set(labels.tolist()))
        shown.append(
            Card(
                id=item["id"],
                text=item["text"],
                pictures=[picture(catalog.images.bytes(image)) for image in item["images"][:PICTURES]],
                guesses=[
                    Guess(names[label] or ids[label], bool(label in true), round(float(bar), 1))
                    for label, bar in zip(labels, heights, strict=True)
                ],
                missed=[names[label] or ids[label] for label in missed[:MISSED]],
                more_missed=max(0, len(missed) - MISSED),
            )
        )
    return shown


def picture(file: bytes) -> str:
    """A PNG or JPEG file as a data URI."""
    kind = "png" if file.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"
