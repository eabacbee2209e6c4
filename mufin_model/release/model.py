"""A released model, loaded from its folder alone: items that nobody has seen in, labels and scores out.

    model = Model(Path("data/demo/released_model"))
    model([Query("red wool scarf")], 3)        # [[Answer(label="x17", text="Scarves", score=2.1), ...]]

It scores by all that the report's figures are of. (An item whose pictures were vectors that a catalogue brought is the
exception: a release can see no such picture.)
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import torch
from scipy.sparse import csr_matrix, vstack

from mufin_model.artefacts import read_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.config import Predict
from mufin_model.inference.components import Scored, Scorer
from mufin_model.inference.fusion import Fusion
from mufin_model.inference.predict import as_csr
from mufin_model.network import store
from mufin_model.network.bags import BagBatch
from mufin_model.network.embedder import assemble, attend
from mufin_model.release.queries import Encoded, Query, QueryEncoder, bags
from mufin_model.ridge.scorer import Ranked

MEMORY = ("train", "val")
"""Splits whose items are looked up as neighbours."""

BATCH = 64
"""Queries scored at once."""


@dataclass(frozen=True)
class Answer:
    """One label for an item. Scores order the labels of one item, and mean nothing beside another item's."""

    label: str
    text: str
    score: float


@contextmanager
def threads(number: int) -> Iterator[None]:
    """A block in which an item's arithmetic takes so many threads of the CPU.

    One item is little work: where something else runs on the machine, threads wait for each other at every layer, and
    an item that took 8 ms on one thread took 260 to 960 on two [M].
    """
    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    try:
        torch.set_num_threads(number)
        faiss.omp_set_num_threads(number)
        yield
    finally:
        torch.set_num_threads(before[0])
        faiss.omp_set_num_threads(before[1])


class Model:
    """What a release's folder serves. One query at a time is scored; callers of other threads wait.

    Raises:
        ArtefactError: files are missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.manifest = folder, read_json(folder / "manifest.json")
        settings = Predict.model_construct(**read_json(folder / "settings.json")["predict"])
        self.catalog = Catalog.load(folder / "raw_descriptors")
        pretrained, finetuned = folder / "pretrained_model", folder / "finetuned_classifiers"
        self.scorer = Scorer(self.catalog, folder, pretrained, folder / "anns_index", finetuned, settings)
        self.fusion = Fusion(**read_json(folder / "fusion.json"))
        self.encoder = QueryEncoder(pretrained, self.scorer.device)
        own = finetuned / store.ENCODER
        self.own_encoder = QueryEncoder(pretrained, self.scorer.device, own) if own.is_dir() else None
        self.ids = self.catalog.labels["id"].to_list()
        self.texts = self.catalog.labels["text"].to_list()
        self._lock = threading.Lock()

    def __call__(self, queries: Sequence[Query], k: int = 10) -> list[list[Answer]]:
        """The k best labels of each query, best first; fewer where fewer were candidates."""
        scores = self.scores(queries, k)
        answers = []
        for row in range(len(queries)):
            part = slice(scores.indptr[row], scores.indptr[row + 1])
            found = zip((-scores.data[part]).tolist(), scores.indices[part].tolist(), strict=True)
            answers.append([Answer(self.ids[label], self.texts[label], -score) for score, label in sorted(found)])
        return answers

    def scores(self, queries: Sequence[Query], k: int) -> csr_matrix:
        """Scores of each query's k best labels, CSR float32 [n, n_seen]; its columns are rows of labels.parquet."""
        parts = [csr_matrix((0, self.catalog.n_seen), dtype=np.float32)]
        for at in range(0, len(queries), BATCH):
            with self._lock:
                scored = self._rank(queries[at : at + BATCH])
            nothing = csr_matrix((len(scored.candidates), self.catalog.n_seen), dtype=np.float32)
            parts.append(as_csr(scored, self.fusion(scored.components), self.catalog.n_seen, nothing, k))
        return vstack(parts, format="csr")

    @torch.inference_mode()
    def _rank(self, queries: Sequence[Query]) -> Scored:
        scorer, tuned = self.scorer, self.scorer.finetuned
        batch = bags(queries, scorer.pretrained.modalities)
        here = batch.to(scorer.device)
        made = self.encoder(queries, batch)
        _, unit = attend(scorer.pretrained.attention, *assemble(here, made.image, made.text))
        seen = made if self.own_encoder is None else self.own_encoder(queries, batch)

        tables, weights = scorer.side

        def classify(candidates: np.ndarray) -> np.ndarray:
            item = tuned.ranker.bags(here, seen.image, seen.text)
            places = torch.from_numpy(candidates.clip(min=0)).to(scorer.device)
            return tuned.ranker.score(*item, tables, weights, places).float().cpu().numpy()

        return scorer.rank(unit.cpu().numpy(), MEMORY, classify, self._ranked(queries, batch, made))

    def _ranked(self, queries: Sequence[Query], batch: BagBatch, made: Encoded) -> Ranked | None:
        """What the ridge says of the queries."""
        ridge = self.scorer.ridge
        if ridge is None:
            return None
        texts = [query.text for query in queries]
        counts = batch.image_mask.sum(1).tolist()
        asked = ridge.featurizer.of_queries(texts, made.sentences, made.pixels, made.images, counts)
        return ridge(asked, self.scorer.pretrained.modalities)
