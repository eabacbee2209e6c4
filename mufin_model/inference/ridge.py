"""Ridge: a one-vs-all linear classifier a label, fitted in closed form over a product of the modalities' kernels.

    K = (T + a H) (1 + b G) (1 + c H) + d (H + G)

T: cosine of TF-IDF texts; H: cosine of hand-made picture features; G: a Gaussian kernel of how a picture is drawn
(`handmade.ink`), which tells catalogues, brands and icon sets apart. The product lets a word mean another label in
another style. Scores are K_query (K + λ I)^-1 Y for all labels at once: one Cholesky factor, O(n^3), no steps and
no learning rate. On small catalogues it is ahead of classifiers trained by gradient descent (benchmarks/results.md).

A masked modality of a query is a zero kernel, so the same fit serves text-only and image-only scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from mufin_model.catalog.catalog import Catalog
from mufin_model.encoders.picture_features import item_features, item_ink
from mufin_model.encoders.tfidf import text_features

PENALTY = 0.3
"""λ."""

LIMIT = 20_000
"""Labelled items at most: the kernel matrix takes 4 n^2 bytes, its factor n^3 / 3 products."""


@dataclass(frozen=True)
class Form:
    """The kernel's a, b, c, d."""

    a: float
    b: float
    c: float
    d: float


FORMS = (Form(0, 1, 1, 0.3), Form(0.4, 2, 1, 0))
"""Those tried on validation items: pictures beside the text, and pictures that change what the text says."""


class Features:
    """What the kernel compares, of every item of a catalogue.

    Args:
        catalog: its items.
        fitted: items whose texts give the vocabulary.
    """

    def __init__(self, catalog: Catalog, fitted: np.ndarray) -> None:
        texts = catalog.items["text"].to_list()
        vectors = text_features([texts[row] for row in fitted], texts)[1]
        self.text: Any = sparse.csr_matrix((len(texts), 1), dtype=np.float32) if vectors is None else vectors
        pictures, self.pictured = item_features(catalog)
        self.picture = torch.nn.functional.normalize(torch.from_numpy(pictures), dim=1)
        self.ink = torch.from_numpy(item_ink(catalog))
        known = self.ink[torch.from_numpy(fitted[self.pictured[fitted]])]
        # The kernel's width: the mean squared distance of two drawings, which is twice their variance.
        self.width = float(2 * known.var(0, correction=0).sum()) if len(known) > 1 else 1.0
        self.width = self.width or 1.0

    def kernel(self, rows: np.ndarray, others: np.ndarray, form: Form, seen: Sequence[str]) -> Tensor:
        """K [n, m] of item rows [n], of which only the modalities `seen` are looked at, and items [m]."""
        shape = (len(rows), len(others))
        text = picture = drawn = torch.zeros(shape)
        if "text" in seen:
            text = torch.from_numpy((self.text[rows] @ self.text[others].T).toarray())
        if "image" in seen:
            at, to = torch.from_numpy(rows), torch.from_numpy(others)
            picture = self.picture[at] @ self.picture[to].T
            both = torch.from_numpy(np.outer(self.pictured[rows], self.pictured[others]))
            drawn = torch.cdist(self.ink[at], self.ink[to]).square_().mul_(-2 / self.width).exp_().mul_(both)
        product = (text + form.a * picture) * (1 + form.b * drawn) * (1 + form.c * picture)
        return product + form.d * (picture + drawn)


class Ridge:
    """Fitted on labelled items.

    Args:
        features: of every item.
        rows: of the labelled items, [n].
        links: their labels, [n, L].
        form: of the kernel.
    """

    def __init__(self, features: Features, rows: np.ndarray, links: sparse.csr_matrix, form: Form) -> None:
        self.features, self.rows, self.form = features, rows, form
        kernel = features.kernel(rows, rows, form, ("text", "image"))
        kernel.diagonal().add_(PENALTY)
        self.weights = torch.cholesky_solve(torch.from_numpy(links.toarray()), torch.linalg.cholesky(kernel))

    def __call__(self, rows: np.ndarray, seen: Sequence[str]) -> np.ndarray:
        """Scores float32 [n, L] of item rows [n], seen through the given modalities alone; about 0 to 1."""
        return (self.features.kernel(rows, self.rows, self.form, seen) @ self.weights).numpy()
