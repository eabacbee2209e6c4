"""The ridge and its re-ranker as inference loads them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mufin_model.arrays import read_array
from mufin_model.catalog.catalog import Catalog
from mufin_model.ridge import evidence
from mufin_model.ridge.features import Features, Featurizer
from mufin_model.ridge.fit import LEFT_OUT, RERANKER
from mufin_model.ridge.reranker import Reranker
from mufin_model.ridge.views import MODALITIES, load_ridge, name_of, view, views

CHUNK = 1024
"""Items scored at once."""


@dataclass(frozen=True)
class Ranked:
    """Shortlists int64 [n, S] of distinct labels, and the scores float32 [n, S] of both; None of a re-ranker that was
    not trained."""

    labels: np.ndarray
    ridge: np.ndarray
    reranker: np.ndarray | None

    def parts(self, wanted: Collection[str]) -> dict[str, np.ndarray]:
        """The scores of the components wanted. In the place of a re-ranker that was not trained, the ridge speaks."""
        found = {} if self.reranker is None else {"reranker": self.reranker}
        if "ridge" in wanted or not found:
            found["ridge"] = self.ridge
        return {name: scores for name, scores in found.items() if name in wanted or self.reranker is None}


class RidgeScorer:
    """Reads the folder that `fit` wrote.

    Raises:
        ArtefactError: files are missing, damaged or do not fit each other.
    """

    def __init__(self, folder: Path, n_labels: int, device: torch.device) -> None:
        self.folder = folder
        self.seen = view([name for name in MODALITIES if (folder / name).is_dir()])
        self.featurizer = Featurizer.load(folder / "featurizer", device)
        known = Features.load(folder / "known", device)
        self.ridges = {seen: load_ridge(folder, known, seen, n_labels) for seen in views(self.seen)}
        self.labels = evidence.Labels.load(folder / "labels", device)
        self.rerankers = {
            seen: Reranker.load(folder / name_of(seen) / RERANKER, device)
            for seen in views(self.seen)
            if (folder / name_of(seen) / RERANKER).is_dir()
        }
        self.size = self.left_out(self.seen).labels.shape[1]

    @torch.inference_mode()
    def __call__(self, asked: Features, modalities: Sequence[str]) -> Ranked:
        """Rank the labels of n items of which these modalities are seen, one at least that the model knows."""
        parts = [self._rank(asked.take(slice(at, at + CHUNK)), modalities) for at in range(0, len(asked), CHUNK)]
        if not parts:
            nothing = np.zeros((0, self.size), np.float32)
            return Ranked(nothing.astype(np.int64), nothing, None)
        labels, ridge, reranker = zip(*parts, strict=True)
        ranked = None if reranker[0] is None else np.concatenate(reranker)
        return Ranked(np.concatenate(labels), np.concatenate(ridge), ranked)

    def _rank(self, asked: Features, modalities: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        pairs, scores = {}, {}
        for seen in views(view([name for name in self.seen if name in modalities])):
            ridge = self.ridges[seen]
            pairs[seen] = ridge.pair(asked)
            scores[seen] = ridge.score(pairs[seen])
        seen = max(scores, key=len)
        labels, found = evidence.gather(pairs[seen], self.labels, scores, seen, self.size, own=False)
        reranker = self.rerankers.get(seen)
        said = np.take_along_axis(scores[seen].cpu().numpy(), labels, 1)
        return labels, said, None if reranker is None else reranker.score(found)

    def left_out(self, modalities: Sequence[str]) -> Ranked:
        """What was said of the validation items without them.

        Raises:
            ArtefactError: files are missing or damaged.
        """
        folder = self.folder / name_of(view([name for name in self.seen if name in modalities])) / LEFT_OUT
        labels = read_array(folder / "labels.npy", shape=(None, None)).astype(np.int64)
        ridge, path = read_array(folder / "ridge.npy", shape=labels.shape), folder / "reranker.npy"
        return Ranked(labels, ridge, read_array(path, shape=labels.shape) if path.is_file() else None)

    def of_catalog(self, catalog: Catalog, encoded: Path) -> Features:
        """Features of all items of a catalogue."""
        return self.featurizer.of_catalog(catalog, encoded)[0]
