"""Each part of the score for a set of items: candidates, then siamese, classifier, neighbour and frequency scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import sparse

from mufin_model.arrays import read_array
from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.links import look_up
from mufin_model.config import Predict
from mufin_model.inference.candidates import join, neighbour_scores, top_of_rows
from mufin_model.inference.fusion import ndcg
from mufin_model.inference.ridge import FORMS, LIMIT, Features, Form, Ridge
from mufin_model.network import store
from mufin_model.network.bags import Bags
from mufin_model.network.embedder import unit_vectors
from mufin_model.network.score import label_side, score_shortlists
from mufin_model.progress import say
from mufin_model.retrieval.index import FLAT, VectorIndex
from mufin_model.retrieval.label_index import LabelIndex


@dataclass(frozen=True)
class Scored:
    """Candidates int64 [n, S], -1 where padded, and the scores of each component, float32 [n, S]."""

    candidates: np.ndarray
    components: dict[str, np.ndarray]

    @property
    def real(self) -> np.ndarray:
        return self.candidates >= 0


class Scorer:
    """All trained parts of one dataset, ready to score its items."""

    def __init__(
        self, catalog: Catalog, encoded: Path, pretrained: Path, index: Path, finetuned: Path, settings: Predict
    ) -> None:
        self.catalog, self.encoded, self.settings = catalog, encoded, settings
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.pretrained = store.load_pretrained(pretrained, self.device)
        self.finetuned = store.load_finetuned(finetuned, self.pretrained, catalog.n_seen, self.device)
        self.index = LabelIndex.load(index)
        width = self.pretrained.dimension
        self.labels = read_array(index / "labels.npy", shape=(catalog.n_labels, width))
        self.items = read_array(pretrained / "item_embeddings.npy", shape=(catalog.items.height, width))
        head = pretrained / "head.npy"
        self.head = read_array(head) if head.is_file() and "head" in settings.components else None
        self.head_index = None if self.head is None else VectorIndex(self.head, FLAT)
        bags = self.pretrained.bags(catalog)
        tuned = self.finetuned
        self.side = label_side(tuned.ranker, bags, tuned.image, tuned.text, catalog.n_seen)
        self.memories: dict[tuple[str, ...], tuple[VectorIndex, sparse.csr_matrix]] = {}
        self.ridges: dict[tuple[str, ...], Ridge] = {}
        self.ridge_features, self.ridge_form = self._ridge_form() if "ridge" in settings.components else (None, None)
        counts = catalog.label_counts()
        self.frequency = np.log1p(counts / max(1, counts.max(initial=1)) * 1000).astype(np.float32)

    def embed(self, items: np.ndarray, modalities: Sequence[str]) -> np.ndarray:
        """Unit vectors float32 [n, D] of items, seen through the given modalities alone."""
        return self._embed(items, self._bags(modalities))

    def __call__(self, items: np.ndarray, memory: Sequence[str], modalities: Sequence[str]) -> Scored:
        """Score item rows [n].

        Args:
            memory: splits whose items and labels may be looked up as neighbours.
            modalities: what of the items' bags is seen.
        """
        bags = self._bags(modalities)
        ridge = self._ridge(memory)

        def classify(candidates: np.ndarray) -> np.ndarray:
            tuned = self.finetuned
            return score_shortlists(tuned.ranker, bags, tuned.image, tuned.text, self.side, items, candidates)

        scores = None if ridge is None else ridge(items, modalities)
        return self.rank(self._embed(items, bags), memory, classify, scores)

    def rank(
        self,
        queries: np.ndarray,
        memory: Sequence[str],
        classify: Callable[[np.ndarray], np.ndarray],
        ridge: np.ndarray | None = None,
    ) -> Scored:
        """Candidates and scores of embedded items, whether or not they are the catalogue's.

        Args:
            queries: unit vectors float32 [n, D].
            memory: as above.
            classify: the classifier's scores float32 [n, S] of candidates int64 [n, S].
            ridge: its scores of every label, float32 [n, n_seen].
        """
        _, shortlist = self.index.search(queries, self.settings.shortlist)
        wanted = self.settings.components
        near = sparse.csr_matrix((len(queries), self.catalog.n_seen), dtype=np.float32)
        if "neighbours" in wanted:
            near = top_of_rows(self._neighbours(queries, memory), self.settings.shortlist)
        if self.head_index is not None:
            best = self.head_index.search(queries, self.settings.shortlist)[1]
            shortlist = np.concatenate([shortlist, best], axis=1)
        if ridge is not None:
            best = torch.from_numpy(ridge).topk(min(self.settings.shortlist, ridge.shape[1]), dim=1).indices.numpy()
            shortlist = np.concatenate([shortlist, best], axis=1)
        candidates = join(shortlist, near)
        siamese = self._cosines(queries, self.labels, candidates)
        parts = {
            **({} if ridge is None else {"ridge": np.take_along_axis(ridge, candidates.clip(min=0), axis=1)}),
            "classifier": classify(candidates),
            "siamese": siamese,
            **({} if self.head is None else {"head": self._cosines(queries, self.head, candidates)}),
            "neighbours": look_up(near, candidates),
            "frequency": self.frequency[candidates.clip(min=0)],
        }
        kept = {name: part for name, part in parts.items() if name in wanted}
        return Scored(candidates, {k: np.where(candidates >= 0, v, -np.inf) for k, v in kept.items()})

    def _ridge_form(self) -> tuple[Features | None, Form | None]:
        """The features and the kernel's form, chosen on validation items; none beyond the limit."""
        catalog = self.catalog
        train, val = catalog.rows("train"), catalog.rows("val")
        if len(train) + len(val) > LIMIT:
            say(f"ridge left out: {len(train) + len(val):,} labelled items are beyond its limit of {LIMIT:,}")
            return None, None
        features, truth = Features(catalog, self.encoded, train, self.device), catalog.links("val")
        if not len(val):
            return features, FORMS[0]
        positive, totals = truth.toarray() > 0, np.diff(truth.indptr)
        real = np.ones_like(positive)
        quality = {}
        for form in FORMS:
            ridge = Ridge(features, train, catalog.links("train"), form)
            quality[form] = ndcg(ridge(val, ("text", "image")), real, positive, totals)
            if quality[form] == max(quality.values()):
                self.ridges["train",] = ridge
        best = max(quality, key=quality.__getitem__)
        shown = ", ".join(f"{100 * q:.1f}" for q in quality.values())
        say(f"ridge: validation nDCG@5 of its forms {shown} per cent; number {FORMS.index(best) + 1} taken")
        return features, best

    def _ridge(self, memory: Sequence[str]) -> Ridge | None:
        """Fitted on the items of these splits."""
        if self.ridge_features is None or self.ridge_form is None:
            return None
        key = tuple(memory)
        if key not in self.ridges:
            rows, links = self._memory(memory)
            self.ridges[key] = Ridge(self.ridge_features, rows, links, self.ridge_form)
        return self.ridges[key]

    def _memory(self, splits: Sequence[str]) -> tuple[np.ndarray, sparse.csr_matrix]:
        """Rows and links of the items of these splits."""
        rows = np.concatenate([self.catalog.rows(split) for split in splits])
        return rows, sparse.vstack([self.catalog.links(split) for split in splits]).tocsr()

    def _embed(self, items: np.ndarray, bags: Bags) -> np.ndarray:
        p = self.pretrained
        return unit_vectors(p.attention, bags, p.image, p.text, items).cpu().numpy()

    def _bags(self, modalities: Sequence[str]) -> Bags:
        return self.pretrained.bags(self.catalog, modalities)

    def _neighbours(self, queries: np.ndarray, memory: Sequence[str]) -> sparse.csr_matrix:
        key = tuple(memory)
        if key not in self.memories:
            rows, links = self._memory(memory)
            self.memories[key] = VectorIndex(self.items[rows], FLAT), links
        index, links = self.memories[key]
        return neighbour_scores(*index.search(queries, self.settings.neighbours), links)

    def _cosines(self, queries: np.ndarray, labels: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        out = np.empty(candidates.shape, np.float32)
        for at in range(0, len(queries), 256):
            rows = slice(at, at + 256)
            out[rows] = np.einsum("nd,nsd->ns", queries[rows], labels[candidates[rows].clip(min=0)])
        return out
