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
from mufin_model.network import store
from mufin_model.network.bags import Bags
from mufin_model.network.embedder import unit_vectors
from mufin_model.network.score import label_side, score_shortlists
from mufin_model.retrieval.index import FLAT, VectorIndex
from mufin_model.retrieval.label_index import LabelIndex
from mufin_model.ridge.features import Features
from mufin_model.ridge.fit import FOLDER
from mufin_model.ridge.scorer import Ranked, RidgeScorer

RIDGE = frozenset({"reranker", "ridge"})
"""Components that the ridge's folder has."""


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
        wanted = RIDGE.intersection(settings.components) and (finetuned / FOLDER).is_dir()
        self.ridge = RidgeScorer(finetuned / FOLDER, catalog.n_seen, self.device) if wanted else None
        self._features: Features | None = None
        counts = catalog.label_counts()
        self.frequency = np.log1p(counts / max(1, counts.max(initial=1)) * 1000).astype(np.float32)

    def embed(self, items: np.ndarray, modalities: Sequence[str]) -> np.ndarray:
        """Unit vectors float32 [n, D] of items, seen through the given modalities alone."""
        return self._embed(items, self._bags(modalities))

    def __call__(self, items: np.ndarray, memory: Sequence[str], modalities: Sequence[str]) -> Scored:
        """Score item rows [n].

        Args:
            memory: splits whose items and labels may be looked up. Without "val", the items must be all the validation
                items: the ridge scores them as they were left out of its fit.
            modalities: what of the items' bags is seen.
        """
        bags = self._bags(modalities)

        def classify(candidates: np.ndarray) -> np.ndarray:
            tuned = self.finetuned
            return score_shortlists(tuned.ranker, bags, tuned.image, tuned.text, self.side, items, candidates)

        return self.rank(self._embed(items, bags), memory, classify, self._ranked(items, memory, modalities))

    def rank(
        self,
        queries: np.ndarray,
        memory: Sequence[str],
        classify: Callable[[np.ndarray], np.ndarray],
        ranked: Ranked | None = None,
    ) -> Scored:
        """Candidates and scores of embedded items, whether or not they are the catalogue's.

        Where the ridge has ranked them its shortlists are the candidates, else those of the index, of the head and of
        the neighbours together.

        Args:
            queries: unit vectors float32 [n, D].
            memory: as above.
            classify: the classifier's scores float32 [n, S] of candidates int64 [n, S].
            ranked: what the ridge says of them.
        """
        wanted = self.settings.components
        near = sparse.csr_matrix((len(queries), self.catalog.n_seen), dtype=np.float32)
        if "neighbours" in wanted:
            near = top_of_rows(self._neighbours(queries, memory), self.settings.shortlist)
        candidates = self._candidates(queries, near) if ranked is None else ranked.labels
        parts = {
            **({} if ranked is None else ranked.parts(wanted)),
            "classifier": classify(candidates),
            "siamese": self._cosines(queries, self.labels, candidates),
            **({} if self.head is None else {"head": self._cosines(queries, self.head, candidates)}),
            "neighbours": look_up(near, candidates),
            "frequency": self.frequency[candidates.clip(min=0)],
        }
        # The siamese score is there whatever was trained and whatever of the items is seen.
        known = {*wanted, *(RIDGE if ranked is not None else ())}
        kept = {name: part for name, part in parts.items() if name in known} or {"siamese": parts["siamese"]}
        return Scored(candidates, {k: np.where(candidates >= 0, v, -np.inf) for k, v in kept.items()})

    def _candidates(self, queries: np.ndarray, near: sparse.csr_matrix) -> np.ndarray:
        _, shortlist = self.index.search(queries, self.settings.shortlist)
        if self.head_index is not None:
            best = self.head_index.search(queries, self.settings.shortlist)[1]
            shortlist = np.concatenate([shortlist, best], axis=1)
        return join(shortlist, near)

    def _ranked(self, items: np.ndarray, memory: Sequence[str], modalities: Sequence[str]) -> Ranked | None:
        """What the ridge says of items; of validation items, what it said of them left out."""
        if self.ridge is None or not set(self.ridge.seen).intersection(modalities):
            return None
        if "val" not in memory:
            if not np.array_equal(items, self.catalog.rows("val")):
                raise ValueError("without the validation items in memory, items must be all of them and no others")
            return self.ridge.left_out(modalities)
        if self._features is None:
            self._features = self.ridge.of_catalog(self.catalog, self.encoded)
        return self.ridge(self._features.take(items), modalities)

    def _memory(self, splits: Sequence[str]) -> tuple[np.ndarray, sparse.csr_matrix]:
        """Rows and links of the items of these splits."""
        rows = np.concatenate([self.catalog.rows(split) for split in splits])
        return rows, sparse.vstack([self.catalog.weighted(split) for split in splits]).tocsr()

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
