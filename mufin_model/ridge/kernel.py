"""The kernel: a product over the modalities, so that a word can mean another label in another style.

    K = (T + a H + a' V) (1 + b G) (1 + c H + c' V) + d (H + V + G)
    T = w W + k C + s S^p

W, C: cosines of TF-IDF texts, by words and by characters; S and V: cosines of text and image embeddings of pretrained
weights (zero without such weights); H: cosine of hand-made picture features; G: a Gaussian kernel of how pictures are
drawn (`handmade.ink`), which tells catalogues, brands and icon sets apart. A masked modality is a zero kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from scipy import sparse
from torch import Tensor

from mufin_model.ridge.features import Features


@dataclass(frozen=True)
class Form:
    """The kernel's weights and the penalty λ; names as in the module's formula."""

    words: float  # w
    characters: float  # k
    sentences: float  # s
    power: float  # p
    drawn: float  # b
    pictures: tuple[float, float]  # a, c
    images: tuple[float, float]  # a', c'
    added: float  # d
    narrow: float  # of G: the inverse of its width
    penalty: float


FORMS = (
    Form(0.5, 0.5, 0.0, 1.0, 1.0, (0.0, 1.0), (0.0, 0.0), 0.3, 2.0, 0.3),
    Form(0.5, 0.5, 0.0, 1.0, 2.0, (0.4, 1.0), (0.0, 0.0), 0.0, 2.0, 0.3),
    Form(0.95, 0.55, 0.4, 1.9, 0.2, (0.0, 0.0), (0.3, 0.1), 0.0, 0.9, 0.025),
    Form(0.0, 0.3, 0.6, 1.5, 2.0, (0.0, 0.5), (0.2, 0.25), 0.5, 4.0, 0.1),
)
"""Those tried on a catalogue. Found by random search for the left-out nDCG@5 of labelled items (benchmarks/results.md):
of cdda_bom, where pictures add little, the third; of icontags, where they change what the text says, the others."""


class Pair:
    """Similarities of n entities, asked, to m others, known; each [n, m] and computed when first looked at."""

    def __init__(self, asked: Features, known: Features, form: Form, width: float) -> None:
        self.asked, self.known, self.form, self.width = asked, known, form, width

    @cached_property
    def text(self) -> Tensor:
        """T."""
        a, b, form = self.asked, self.known, self.form
        out = cosines(a.sentences, b.sentences).clamp_(min=0).pow_(form.power).mul_(form.sentences)
        for weight, mine, theirs in ((form.words, a.words, b.words), (form.characters, a.characters, b.characters)):
            if weight:
                out += weight * sparse_cosines(mine, theirs).to(out.device)
        return out

    @cached_property
    def pictures(self) -> Tensor:
        """H."""
        return cosines(self.asked.pictures, self.known.pictures)

    @cached_property
    def images(self) -> Tensor:
        """V."""
        return cosines(self.asked.images, self.known.images)

    @cached_property
    def drawn(self) -> Tensor:
        """G, zero where either has no picture."""
        a, b = self.asked, self.known
        if a.ink.shape[1] != b.ink.shape[1]:
            return torch.zeros_like(self.pictures)
        gaussian = torch.cdist(a.ink, b.ink).square_().mul_(-self.form.narrow / self.width).exp_()
        return gaussian.mul_(a.pictured.unsqueeze(1)).mul_(b.pictured)

    def whole(self, seen: Sequence[str]) -> Tensor:
        """K, of the modalities of the asked that are seen."""
        if "image" not in seen:
            return self.text.clone() if "text" in seen else torch.zeros_like(self.pictures)
        text = self.text if "text" in seen else torch.zeros_like(self.pictures)
        return combine(self.form, text, self.pictures, self.images, self.drawn)


def combine(form: Form, text: Tensor, pictures: Tensor, images: Tensor, drawn: Tensor) -> Tensor:
    """K of its parts, all of one shape."""
    (a, c), (a_image, c_image) = form.pictures, form.images
    product = text.add(pictures, alpha=a).add_(images, alpha=a_image)
    product *= drawn.mul(form.drawn).add_(1)
    product *= pictures.mul(c).add_(images, alpha=c_image).add_(1)
    return product.add_(pictures + images + drawn, alpha=form.added)


def itself(features: Features, form: Form, seen: Sequence[str]) -> dict[str, Tensor]:
    """What each entity's similarity to itself is, [n]: of the parts of the kernel, and of K ("whole")."""
    device = features.pictured.device
    has = {
        "words": torch.from_numpy(features.words.getnnz(1) > 0).to(device).float(),
        "characters": torch.from_numpy(features.characters.getnnz(1) > 0).to(device).float(),
        **{name: getattr(features, name).any(1).float() for name in ("sentences", "pictures", "images")},
    }
    text = form.words * has["words"] + form.characters * has["characters"] + form.sentences * has["sentences"]
    parts = {"text": text, "pictures": has["pictures"], "images": has["images"], "drawn": features.pictured.float()}
    masked = {name: part * (("text" if name == "text" else "image") in seen) for name, part in parts.items()}
    return parts | {"whole": combine(form, **masked)}


def width(known: Features) -> float:
    """Of the Gaussian: the mean squared distance of two of these drawings, which is twice their variance."""
    drawings = known.ink[known.pictured]
    return (float(2 * drawings.var(0, correction=0).sum()) if len(drawings) > 1 else 1.0) or 1.0


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Of unit rows [n, d] and [m, d]: [n, m]; zero where there is nothing to compare, which has another width."""
    return a @ b.T if a.shape[1] == b.shape[1] else torch.zeros(len(a), len(b), device=a.device)


def sparse_cosines(a: sparse.csr_matrix, b: sparse.csr_matrix) -> Tensor:
    """The same of CSR rows, on the CPU."""
    return torch.from_numpy((a @ b.T).toarray())
