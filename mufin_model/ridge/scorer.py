"""The ridge and its re-ranker as inference loads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mufin_model.arrays import read_array, read_sparse
from mufin_model.artefacts import read_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.ridge import evidence
from mufin_model.ridge.classifiers import Ridge
from mufin_model.ridge.features import Features, Featurizer
from mufin_model.ridge.fit import read_form, views
from mufin_model.ridge.reranker import Reranker

CHUNK = 1024
"""Items scored at once."""


@dataclass(frozen=True)
class Ranked:
    """Shortlists int64 [n, S] of distinct labels, and the scores float32 [n, S] of both."""

    labels: np.ndarray
    ridge: np.ndarray
    reranker: np.ndarray


class RidgeScorer:
    """Reads the folder that `fit` wrote.

    Raises:
        ArtefactError: files are missing, damaged or do not fit each other.
    """

    def __init__(self, folder: Path, n_labels: int, device: torch.device) -> None:
        self.folder = folder
        config = read_json(folder / "config.json")
        self.seen, self.size = list(config["seen"]), int(config["reranked"])
        self.featurizer = Featurizer.load(folder / "featurizer", device)
        known = Features.load(folder / "known", device)
        weights = torch.from_numpy(read_array(folder / "weights.npy", shape=(len(known), n_labels))).to(device).float()
        self.ridge = Ridge(known, read_form(folder), weights, config["scale"], config["width"])
        self.labels = evidence.Labels(Features.load(folder / "labels", device), read_sparse(folder / "links.npz"))
        self.reranker = Reranker.load(folder / "reranker", device)

    @torch.inference_mode()
    def __call__(self, asked: Features, seen: Sequence[str]) -> Ranked:
        """Rank the labels of n items of which these modalities are seen."""
        parts = [self._rank(asked.take(slice(at, at + CHUNK)), seen) for at in range(0, len(asked), CHUNK)]
        if not parts:
            nothing = np.zeros((0, min(self.size, self.ridge.weights.shape[1])), np.float32)
            return Ranked(nothing.astype(np.int64), nothing, nothing)
        return Ranked(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def _rank(self, asked: Features, seen: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        view = views([name for name in self.seen if name in seen])
        pair, weights = self.ridge.pair(asked), self.ridge.weights
        scores = {one: pair.whole(one) @ weights for one in view}
        whole = scores[view[0]]
        parts = [whole, *(scores.get((name,), whole) * (name in view[0]) for name in ("text", "image"))]
        labels, found = evidence.gather(pair, self.labels, parts, view[0], self.size, own=False)
        return labels, np.take_along_axis(whole.cpu().numpy(), labels, 1), self.reranker.score(found)

    def left_out(self, seen: Sequence[str]) -> Ranked:
        """What was said of the validation items without them.

        Raises:
            ArtefactError: files are missing or damaged.
        """
        folder = (
            self.folder
            / "left_out"
            / "+".join(name for name in ("text", "image") if name in self.seen and name in seen)
        )
        labels = read_array(folder / "labels.npy", shape=(None, None)).astype(np.int64)
        return Ranked(
            labels, *(read_array(folder / f"{name}.npy", shape=labels.shape) for name in ("ridge", "reranker"))
        )

    def of_catalog(self, catalog: Catalog, encoded: Path) -> Features:
        """Features of all items of a catalogue."""
        return self.featurizer.of_catalog(catalog, encoded)[0]
