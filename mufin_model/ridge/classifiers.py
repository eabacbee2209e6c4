"""Ridge: a one-vs-all linear classifier a label, in closed form over the kernel.

Scores are K_query (K + λ I)^-1 Y for all labels at once: one Cholesky factor, O(n^3), no steps and no learning rate.
K is scaled to a mean diagonal of three, so that one penalty means the same in every form, and has a small constant
added, which is the intercept. On small catalogues this is ahead of classifiers trained by gradient descent
(benchmarks/results.md).

What the classifiers would say of a labelled item had it been left out is exact and costs no second fit: with
G = (K + λ I)^-1 and A = G Y, that is y_i - A_i / G_ii (leave-one-out of ridge regression; Allen's PRESS).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from mufin_model.errors import ArtefactError
from mufin_model.evaluation.metrics import without
from mufin_model.progress import say
from mufin_model.ranking import ndcg
from mufin_model.ridge.features import Features
from mufin_model.ridge.kernel import FORMS, Form, Pair, width

LIMIT = 16_000
"""Labelled items at most: seven matrices of 4 n^2 bytes are held at once, and the factor takes n^3 / 3 products."""

CELLS = 200_000_000
"""Labelled items times labels at most: the weights of each of three views take 4 bytes for each."""

DIAGONAL = 3.0
"""The kernel's mean diagonal."""

INTERCEPT = 0.05
"""Added to the scaled kernel: what is common to all items. An item that is like no other then gets the labels by their
frequency, and a score of another item is the deviation from it."""

TRIED = 3000
"""Labelled items at most, drawn at random, on which the kernel's form is chosen."""


@dataclass(frozen=True)
class Ridge:
    """Fitted on the m items `known`.

    Attributes:
        seen: modalities that the kernel compares.
        weights: (K + λ I)^-1 Y, times the kernel's scale; [m, L].
        scale: that brings the kernel's mean diagonal to DIAGONAL; 1 where the kernel is all zeros.
        width: of the Gaussian kernel of drawings.
    """

    known: Features
    seen: tuple[str, ...]
    form: Form
    weights: Tensor
    scale: float
    width: float

    def pair(self, asked: Features) -> Pair:
        """The similarities of n entities to those known."""
        return Pair(asked, self.known, self.form, self.width)

    def score(self, pair: Pair) -> Tensor:
        """Scores [n, L], about 0 to 1, of n entities by their similarities to those known."""
        return (pair.whole(self.seen) @ self.weights).add_(self.weights.sum(0) * (INTERCEPT / self.scale))


class Fit:
    """A ridge, and what it needs to score its own items left out.

    Args:
        known: the m labelled items.
        links: their labels, CSR [m, L].
        form: of the kernel.
        seen: modalities that the kernel compares.
    """

    def __init__(self, known: Features, links: sparse.csr_matrix, form: Form, seen: Sequence[str]) -> None:
        self.links, spread = links, width(known)
        self.pair = Pair(known, known, form, spread)
        kernel = self.pair.whole(seen)
        alike = float(kernel.diagonal().mean())
        scale = DIAGONAL / alike if alike > 1e-6 else 1.0  # a form may see nothing of a modality
        self.inverse = _inverse(kernel.mul_(scale).add_(INTERCEPT), form.penalty)
        dense = torch.from_numpy(np.ascontiguousarray((links.T @ self.inverse.cpu().numpy()).T)).to(self.inverse)
        self.residual = dense / self.inverse.diagonal().unsqueeze(1)
        self.ridge = Ridge(known, tuple(seen), form, dense * scale, scale, spread)

    def left_out(self) -> Tensor:
        """Scores [m, L] of each known item by the classifiers fitted without it."""
        return torch.from_numpy(self.links.toarray()).to(self.residual) - self.residual


def choose(
    known: Features, links: sparse.csr_matrix, removed: sparse.csr_matrix, seen: Sequence[str], seed: int
) -> Form:
    """The form whose classifiers say best, by nDCG@5, how items are labelled that they were fitted without.

    Args:
        known: the m labelled items.
        links: their labels, CSR [m, L]; removed: pairs that are taken out of predictions and truth, [m, L].
        seen: modalities that the kernel compares.
        seed: of the draw where there are many.
    """
    rows = np.sort(np.random.default_rng([seed, 4]).permutation(len(known))[:TRIED])
    some, fitted, truth = known.take(rows), links[rows], without(links[rows], removed[rows])
    positive, totals, real = truth.toarray() > 0, np.diff(truth.indptr), removed[rows].toarray() == 0
    quality = [
        ndcg(Fit(some, fitted, form, seen).left_out().cpu().numpy(), real, positive, totals).mean() for form in FORMS
    ]
    best = int(np.argmax(quality))
    shown = ", ".join(f"{100 * q:.1f}" for q in quality)
    say(f"ridge by {' and '.join(seen)}: left-out nDCG@5 of its forms {shown} per cent; number {best + 1} taken")
    return FORMS[best]


def _inverse(kernel: Tensor, penalty: float) -> Tensor:
    """(K + λ I)^-1. A power of cosines need not be positive definite: the penalty is doubled until the sum is.

    Raises:
        ArtefactError: not all of it are numbers.
    """
    kernel.diagonal().add_(penalty)
    factor, failed = torch.linalg.cholesky_ex(kernel)
    while failed.item():
        # A penalty as large as the norm is enough for any kernel of numbers.
        if not penalty <= 2 * float(kernel.norm()):
            raise ArtefactError(
                "items cannot be compared: vectors of theirs are no finite numbers",
                where="encoder_embeddings",
                mend="look at the quality checks of encoder_embeddings, and run encode again",
            )
        kernel.diagonal().add_(penalty)
        penalty *= 2
        factor, failed = torch.linalg.cholesky_ex(kernel)
    return torch.cholesky_inverse(factor)
