"""Zero-shot labels, ranked by their own descriptors."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from mufin_model.artefacts import read_json, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.inference import zero_shot
from mufin_model.inference.candidates import top_of_rows
from mufin_model.ranking import rounded
from mufin_model.retrieval.build_index import unit
from tests.conftest import VERBS, Small


def mean_cosines(queries: np.ndarray, labels: np.ndarray, asked: np.ndarray, known: np.ndarray) -> np.ndarray:
    """All of them, [n, Z]; the siamese cosine alone where either has no text."""
    siamese = queries @ labels.T
    worded = asked.any(1)[:, None] & known.any(1)
    return np.where(worded, (siamese + asked @ known.T) / 2, siamese)


@pytest.mark.parametrize("top", [4, 50])
def test_the_best_are_those_of_all_cosines(top: int) -> None:
    rng = np.random.default_rng(5)
    queries, labels, asked, known = (
        unit(rng.standard_normal(shape).astype(np.float32)) for shape in ((7, 8), (30, 8), (7, 5), (30, 5))
    )
    known[3], asked[2] = 0, 0  # a label and an item without a text
    for told, every in ((None, queries @ labels.T), ((asked, known), mean_cosines(queries, labels, asked, known))):
        found = zero_shot.rank(queries, labels, told, top)
        assert found.shape == every.shape
        best = rounded(top_of_rows(sparse.csr_matrix(every), top).toarray())
        np.testing.assert_allclose(found.toarray(), best, atol=1.1e-5)


def test_no_zero_shot_labels_no_scores() -> None:
    assert zero_shot.rank(np.eye(7, 8, dtype=np.float32), np.zeros((0, 8), np.float32), None, 4).shape == (7, 0)


@pytest.mark.parametrize("pretrained", [False, True])
def test_predict_asks_pretrained_sentences_alone(built: Small, tmp_path: Path, pretrained: bool) -> None:
    small = built.branch(tmp_path, tuple(verb for verb in VERBS if verb not in ("encode", "pretrain", "predict")))
    shutil.copytree(built.noun("pretrained_model"), small.workspace.path(small.dataset, "pretrained_model"))
    config = read_json(small.noun("pretrained_model") / "config.json")
    # of weights that were tuned serving has only the tuned ones
    config["tuned"]["text"] = not pretrained
    write_json(small.noun("pretrained_model") / "config.json", config)
    encoded = small.workspace.path(small.dataset, "encoder_embeddings")
    shutil.copytree(built.noun("encoder_embeddings"), encoded)
    meta = read_json(encoded / "meta.json")
    meta["random_weights"]["text"] = not pretrained
    write_json(encoded / "meta.json", meta)
    small.run("predict")
    catalog = Catalog.load(small.noun("raw_descriptors"))
    test, before = catalog.rows("test"), catalog.items.height + catalog.n_seen
    items = np.load(small.noun("pretrained_model") / "item_embeddings.npy")[test]
    labels = np.load(small.noun("anns_index") / "labels.npy")[catalog.n_seen :]
    texts = np.load(encoded / "text.npy")
    expected = mean_cosines(items, labels, texts[test], texts[before:]) if pretrained else items @ labels.T
    found = sparse.load_npz(small.noun("predictions") / "zero_shot.npz")
    best = top_of_rows(sparse.csr_matrix(expected), small.settings.predict.top_k)
    np.testing.assert_allclose(found.toarray(), best.toarray(), atol=1e-5)
