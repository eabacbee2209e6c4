"""What speaks for a label of an item's shortlist: the input of the re-ranker, one row for each pair of item and label.

The ridge gives the shortlist and a first score. Beside it stand its own score by each modality alone, the labels of the
nearest labelled items (by the whole kernel, by text, by what pictures show, by how they are drawn), how like the item
the label itself is, how frequent it is, and how sure the ridge is of this item at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from mufin_model import ranking
from mufin_model.arrays import read_sparse
from mufin_model.catalog.links import contains, look_up
from mufin_model.ridge.features import Features
from mufin_model.ridge.kernel import Pair, cosines, itself
from mufin_model.ridge.views import MODALITIES, Seen

NEAREST = (10, 50)
"""Labelled items whose labels are votes."""

SHARPNESS = 6
"""Votes weigh by this power of the similarity, in shares of the nearest item's."""

KINDS = ("whole", "text", "shown", "drawn")

NAMES = (
    "score",
    "text score",
    "image score",
    *(f"{kind} votes of {k}" for kind in KINDS for k in NEAREST),
    *(f"{kind} nearest" for kind in KINDS),
    "label sentence",
    "label words",
    "label characters",
    "label named",
    "label pictures",
    "label images",
    "frequency",
    "best score",
    "sum of scores",
    "behind the best",
    "rank",
    "text seen",
    "image seen",
)


@dataclass(frozen=True)
class Labels:
    """What is known of L labels: their features, the items that have them, CSR [m, L]."""

    features: Features
    links: sparse.csr_matrix

    def save(self, folder: Path) -> None:
        """Write a folder."""
        self.features.save(folder)
        sparse.save_npz(folder / "links.npz", self.links)

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> Labels:
        """Read a folder.

        Raises:
            ArtefactError: files are missing or damaged.
        """
        return cls(Features.load(folder, device), read_sparse(folder / "links.npz"))

    def others(self, shortlist: np.ndarray, own: bool) -> np.ndarray:
        """How many items have each label of shortlists [n, S]; not counting the item itself, where the n are those."""
        counts = np.bincount(self.links.indices, minlength=self.links.shape[1])[shortlist]
        return np.asarray(counts - contains(self.links, shortlist) if own else counts)


def gather(
    pair: Pair, labels: Labels, scores: Mapping[Seen, Tensor], seen: Seen, size: int, own: bool
) -> tuple[np.ndarray, Tensor]:
    """The shortlists of n items and the evidence for each of their labels.

    Args:
        pair: similarities of the items to the labelled ones.
        labels: their labels.
        scores: of the ridges of this view and of each modality in it alone, each [n, L].
        seen: the view: modalities of the items that are looked at.
        size: S, labels of a shortlist.
        own: the items are the labelled ones, so that none of them is its own neighbour.

    Returns:
        Labels int64 [n, S], the ridge's best first; float32 [n, S, len(NAMES)] on the CPU.
    """
    whole = scores[seen]
    shortlist = ranking.best(whole, size)
    best = whole.gather(1, shortlist)
    at = shortlist.cpu().numpy()
    out = torch.zeros(*at.shape, len(NAMES))
    columns = iter(range(len(NAMES)))

    def put(values: Tensor | np.ndarray | float) -> None:
        out[:, :, next(columns)] = torch.as_tensor(values).float().cpu().expand(at.shape)

    put(best)
    for name in MODALITIES:
        put(scores[name,].gather(1, shortlist) if name in seen else 0.0)
    mine, known = itself(pair.asked, pair.form, seen), itself(pair.known, pair.form, ("text", "image"))
    nearest = []
    for kind in KINDS:
        similarity = _similarity(pair, kind, seen, mine, known)
        if own:
            similarity.fill_diagonal_(0)
        for votes in _votes(similarity, labels.links):
            put(look_up(votes, at))
        nearest.append(similarity.amax(1, keepdim=True))
    for most in nearest:
        put(most)
    for like in _likeness(pair.asked, labels.features, seen, at):
        put(like)
    put(np.floor(2 * np.log2(labels.others(at, own) + 1)))
    put(best[:, :1])
    put(whole.clamp(min=0).sum(1, keepdim=True))
    put(best - best[:, :1])
    put(torch.arange(at.shape[1]).unsqueeze(0))
    worded = torch.from_numpy(pair.asked.words.getnnz(1) > 0).unsqueeze(1)
    put(worded.float() * ("text" in seen))
    put(pair.asked.pictured.unsqueeze(1).float() * ("image" in seen))
    return at, out


def _similarity(
    pair: Pair, kind: str, seen: Sequence[str], mine: dict[str, Tensor], known: dict[str, Tensor]
) -> Tensor:
    """Of one kind, at most about one: K and T divided by what their items are like themselves."""
    if ("text" if kind == "text" else "image") not in seen and kind != "whole":
        return torch.zeros_like(pair.pictures)
    if kind == "drawn":
        return pair.drawn.clone()
    if kind == "shown":
        return (pair.pictures + pair.images) / (known["pictures"] + known["images"]).clamp(min=1)
    similarity = pair.whole(seen) if kind == "whole" else pair.text.clone()
    similarity /= mine[kind].clamp(min=1e-6).sqrt().unsqueeze(1)
    similarity /= known[kind].clamp(min=1e-6).sqrt()
    return similarity


def _votes(similarity: Tensor, links: sparse.csr_matrix) -> list[sparse.csr_matrix]:
    """Labels of each item's nearest labelled ones, CSR [n, L], for each number of NEAREST."""
    n, m = similarity.shape
    rows = ranking.best(similarity, max(NEAREST))
    values = similarity.gather(1, rows)
    weight = (values / values[:, :1].clamp(min=1e-6)).clamp(min=0).pow(SHARPNESS).cpu().numpy()
    rows_at = rows.cpu().numpy()
    out = []
    for k in NEAREST:
        some = weight[:, :k] / np.maximum(weight[:, :k].sum(1, keepdims=True), 1e-9)
        offsets = np.arange(n + 1) * some.shape[1]
        chosen = sparse.csr_matrix((some.ravel(), rows_at[:, :k].ravel(), offsets), shape=(n, m))
        out.append((chosen @ links).tocsr())
    return out


def _likeness(asked: Features, labels: Features, seen: Sequence[str], at: np.ndarray) -> Iterator[Tensor | np.ndarray]:
    """How like the items the labels of their shortlists [n, S] are themselves; zero where that modality is not seen."""
    text, image = "text" in seen, "image" in seen
    where = torch.from_numpy(at).to(asked.pictured.device)
    yield cosines(asked.sentences, labels.sentences).gather(1, where) * text
    for like in (
        asked.words @ labels.words.T,
        asked.characters @ labels.characters.T,
        _named(asked.words, labels.words),
    ):
        yield look_up(like.tocsr(), at) * text
    for mine, theirs in ((asked.pictures, labels.pictures), (asked.images, labels.images)):
        yield cosines(mine, theirs).gather(1, where) * image


def _named(items: sparse.csr_matrix, labels: sparse.csr_matrix) -> sparse.csr_matrix:
    """The share of each label's words that the item's text has, by their weight: CSR [n, L]."""
    share = sparse.diags(1 / np.maximum(np.asarray(labels.sum(1)).ravel(), 1e-9)) @ labels
    return (items > 0).astype(np.float32) @ share.T.tocsr()
