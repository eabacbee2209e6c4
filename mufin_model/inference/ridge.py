"""Ridge: a one-vs-all linear classifier a label, fitted in closed form over a product of the modalities' kernels.

    K = (T + a H + a' V) (1 + b G) (1 + c H + c' V) + d (H + V + G)
    T = w W + k C + s S^p

W, C: cosines of TF-IDF texts, by words and by characters; S: cosine of sentence embeddings and V of image embeddings,
where their weights are pretrained (else zero); H: cosine of hand-made picture features; G: a Gaussian kernel of how a
picture is drawn (`handmade.ink`), which tells catalogues, brands and icon sets apart. The product lets a word mean
another label in another style. K is scaled to a mean diagonal of three. Scores are K_query (K + λ I)^-1 Y for all
labels at once: one Cholesky factor, O(n^3), no steps and no learning rate. On small catalogues it is ahead of
classifiers trained by gradient descent (benchmarks/results.md).

A masked modality of a query is a zero kernel, so the same fit serves text-only and image-only scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn.functional import normalize

from mufin_model.arrays import read_array
from mufin_model.artefacts import read_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.encoders.picture_features import item_features, item_ink, item_means
from mufin_model.encoders.tfidf import character_features, word_features

LIMIT = 20_000
"""Labelled items at most: the kernel matrix takes 4 n^2 bytes, its factor n^3 / 3 products."""

DIAGONAL = 3.0
"""The kernel's mean diagonal, so that one penalty means the same in every form."""


@dataclass(frozen=True)
class Form:
    """The kernel's weights and the penalty λ; names as in the module's formula."""

    words: float
    characters: float
    sentences: float
    power: float
    drawn: float
    pictures: tuple[float, float]
    images: tuple[float, float]
    added: float
    narrow: float
    penalty: float


FORMS = (
    Form(0.5, 0.5, 0.0, 1.0, 1.0, (0.0, 1.0), (0.0, 0.0), 0.3, 2.0, 0.3),
    Form(0.5, 0.5, 0.0, 1.0, 2.0, (0.4, 1.0), (0.0, 0.0), 0.0, 2.0, 0.3),
    Form(0.6, 0.3, 0.4, 1.5, 0.0, (0.1, 0.25), (0.0, 0.25), 0.05, 0.5, 0.05),
    Form(0.0, 0.3, 0.6, 1.5, 2.0, (0.0, 0.5), (0.2, 0.25), 0.5, 4.0, 0.1),
)
"""Those tried on validation items. Found by random search, cross-validated on training items: of cdda_bom, where
pictures add little, the third; of icontags, where they change what the text says, the others."""


class Features:
    """What the kernel compares, of every item of a catalogue.

    Args:
        catalog: its items.
        encoded: the artefact `encoder_embeddings`.
        fitted: items whose texts give the vocabulary.
        device: of the kernels.
    """

    def __init__(self, catalog: Catalog, encoded: Path, fitted: np.ndarray, device: torch.device) -> None:
        texts = catalog.items["text"].to_list()
        self.device = device
        self.words, self.characters = (
            self._sparse(features([texts[row] for row in fitted], texts)[1], len(texts))
            for features in (word_features, character_features)
        )
        meta = read_json(encoded / "meta.json")
        self.sentences = self.images = torch.zeros(len(texts), 1, device=device)
        if not meta["random_weights"]["text"]:
            self.sentences = self._unit(read_array(encoded / "text.npy")[: len(texts)])
        if not meta["random_weights"]["image"] and meta["backbone_width"]:
            each = read_array(encoded / "image.npy")[:, : meta["backbone_width"]]
            # Some units of a pretrained network are large for every picture: standardised, all tell pictures apart.
            each = (each - each.mean(0)) / (each.std(0) + 1e-6)
            each /= np.linalg.norm(each, axis=1, keepdims=True) + 1e-9
            self.images = self._unit(item_means(catalog, each))
        pictures, self.pictured = item_features(catalog)
        self.pictures = self._unit(pictures)
        self.ink = torch.from_numpy(item_ink(catalog)).to(device)
        known = self.ink[torch.from_numpy(fitted[self.pictured[fitted]]).to(device)]
        # The kernel's width: the mean squared distance of two drawings, which is twice their variance.
        self.width = float(2 * known.var(0, correction=0).sum()) if len(known) > 1 else 1.0
        self.width = self.width or 1.0

    def kernel(self, rows: np.ndarray, others: np.ndarray, form: Form, seen: Sequence[str]) -> Tensor:
        """K [n, m], unscaled, of item rows [n], of which only the modalities `seen` are looked at, and items [m]."""
        at, to = (torch.from_numpy(x).to(self.device) for x in (rows, others))
        text = picture = image = drawn = torch.zeros(len(rows), len(others), device=self.device)
        if "text" in seen:
            text = form.sentences * (self.sentences[at] @ self.sentences[to].T).clamp(min=0).pow(form.power)
            for weight, vectors in ((form.words, self.words), (form.characters, self.characters)):
                if weight:
                    cosine = (vectors[rows] @ vectors[others].T).toarray()
                    text += weight * torch.from_numpy(cosine).to(self.device)
        if "image" in seen:
            picture = self.pictures[at] @ self.pictures[to].T
            image = self.images[at] @ self.images[to].T
            both = torch.from_numpy(np.outer(self.pictured[rows], self.pictured[others])).to(self.device)
            drawn = torch.cdist(self.ink[at], self.ink[to]).square_().mul_(-form.narrow / self.width).exp_().mul_(both)
        (a, c), (a_image, c_image) = form.pictures, form.images
        product = text.add(picture, alpha=a).add_(image, alpha=a_image)
        product *= drawn.mul(form.drawn).add_(1)
        product *= picture.mul(c).add_(image, alpha=c_image).add_(1)
        return product.add_(picture + image + drawn, alpha=form.added)

    def _unit(self, rows: np.ndarray) -> Tensor:
        return normalize(torch.from_numpy(np.asarray(rows, np.float32)).to(self.device), dim=1)

    @staticmethod
    def _sparse(vectors: sparse.csr_matrix | None, n: int) -> sparse.csr_matrix:
        return sparse.csr_matrix((n, 1), dtype=np.float32) if vectors is None else vectors


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
        self.scale = DIAGONAL / max(float(kernel.diagonal().mean()), 1e-6)
        kernel *= self.scale
        kernel.diagonal().add_(form.penalty)
        wanted = torch.from_numpy(links.toarray()).to(kernel)
        self.weights = torch.cholesky_solve(wanted, torch.linalg.cholesky(kernel)) * self.scale

    def __call__(self, rows: np.ndarray, seen: Sequence[str]) -> np.ndarray:
        """Scores float32 [n, L] of item rows [n], seen through the given modalities alone; about 0 to 1."""
        return (self.features.kernel(rows, self.rows, self.form, seen) @ self.weights).cpu().numpy()
