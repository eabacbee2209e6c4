"""Each baseline must use what it is given, and stand the catalogues that lack something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from mufin_model.artefacts import Workspace, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.encoders import picture_features
from mufin_model.encoders.handmade import WIDTH
from mufin_model.encoders.sentences import pretrained_sentences
from mufin_model.evaluation import baselines
from mufin_model.evaluation.baselines import Task
from mufin_model.evaluation.buckets import bucket_metrics, buckets
from mufin_model.evaluation.metrics import evaluate_scores, top_k

from .conftest import DATASET


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "say", lambda _: None)


def test_all_beat_popularity_where_text_and_pictures_tell(catalog: Catalog) -> None:
    scores, skipped = baselines.fit_all(catalog, 100, 0)
    assert skipped == {}
    truth = catalog.links("test")
    found = {name: evaluate_scores(matrix, truth, np.ones(catalog.n_seen))["P@3"] for name, matrix in scores.items()}
    for name in ("tfidf_knn", "tfidf_one_vs_all", "image_knn"):
        assert found[name] > found["popularity"], name
        assert scores[name].shape == truth.shape
        assert np.isfinite(scores[name].data).all()


def test_embeddings_of_pretrained_weights_are_a_baseline(workspace: Workspace) -> None:
    catalog = Catalog.load(workspace.read(DATASET, "raw_descriptors"))
    encoded = workspace.read(DATASET, "encoder_embeddings")
    scores, _ = baselines.fit_all(catalog, 100, 0, encoded)
    truth, ones = catalog.links("test"), np.ones(catalog.n_seen)
    found = {name: evaluate_scores(matrix, truth, ones)["P@3"] for name, matrix in scores.items()}
    assert found["sentence_knn"] > found["popularity"]
    assert len(pretrained_sentences(encoded)) == len(np.load(encoded / "text.npy"))


def test_embeddings_of_random_weights_are_none(tmp_path: Path) -> None:
    write_json(tmp_path / "meta.json", {"random_weights": {"text": True}})
    assert pretrained_sentences(tmp_path) is None


@pytest.mark.parametrize("limit", [0, 10**9])
def test_both_ways_to_fit_the_svm_find_what_words_tell(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(baselines, "CONVERGED_LIMIT", limit)
    scores, _ = baselines.fit_all(catalog, 100, 0)
    truth, ones = catalog.links("test"), np.ones(catalog.n_seen)
    found = {name: evaluate_scores(scores[name], truth, ones)["P@3"] for name in ("popularity", "tfidf_one_vs_all")}
    assert found["tfidf_one_vs_all"] > found["popularity"]


def test_what_is_too_dear_is_left_out_with_its_reason(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "PAIRS_LIMIT", 1)
    monkeypatch.setattr(baselines, "ONE_VS_ALL_LIMIT", 1)
    scores, skipped = baselines.fit_all(catalog, 10, 0)
    assert scores.keys() == {"popularity"}
    assert "beyond its limit of 1" in skipped["tfidf_one_vs_all"]
    assert skipped.keys() == {"tfidf_knn", "tfidf_one_vs_all", "image_knn"}


def test_popularity_ranks_by_count() -> None:
    task = Task(["", ""], csr_matrix([[0, 1.0, 1], [0, 1, 0]]), [""] * 3, depth=2)
    assert top_k(baselines.popularity(task), 2)[0].tolist() == [[1, 2]] * 3


def test_no_text_at_all() -> None:
    assert baselines.text_features(["", ""], [""]) == (None, None)


def test_items_without_pictures_get_popularity() -> None:
    task = Task([""] * 3, csr_matrix([[0, 1.0], [0, 1], [1, 0]]), ["", ""], depth=2)
    features = np.eye(3, dtype=np.float32)
    scores = baselines.image_neighbours(
        task, features, np.array([True, True, True]), features[[2, 2]], np.array([True, False])
    )
    assert top_k(scores, 1)[0].tolist() == [[0], [1]]
    none = baselines.image_neighbours(task, features, np.zeros(3, bool), features[:2], np.ones(2, bool))
    assert (none != baselines.popularity(task)).nnz == 0


@pytest.mark.parametrize("side", [1, 8, 16, 23, 64])
def test_picture_features_of_any_size(side: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, side, side)).astype(np.uint8)
    got = picture_features.features(pixels)
    assert got.shape == (3, WIDTH)
    assert np.isfinite(got).all()
    assert np.linalg.norm(got[:, :64], axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert picture_features.features(pixels[1:2]) == pytest.approx(got[1:2])


def test_buckets() -> None:
    truth = csr_matrix([[1.0, 1, 0, 0], [0, 1, 1, 0]])
    groups = buckets([0, 2, 7, 80], truth)
    assert [(group.name, int(group.labels.sum()), group.links) for group in groups] == [
        ("1-2", 2, 3), ("6-10", 1, 1), (">50", 1, 0),
    ]  # fmt: skip
    told = bucket_metrics(csr_matrix([[0, 0.5, 0.9, 0], [0, 0, 0.5, 0]]), truth, groups)
    assert told["1-2"] == {
        "recall_10": pytest.approx(1 / 3),
        "part_of_P_5": pytest.approx(0.1),
        "labels": 2,
        "links": 3,
    }
    assert told["6-10"]["recall_10"] == 1
    assert told[">50"] == {"recall_10": 0, "part_of_P_5": 0, "labels": 1, "links": 0}
