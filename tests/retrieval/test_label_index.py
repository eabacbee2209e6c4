"""The labels' index: the tail approximate, the head exact, both in full."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mufin_model.config import Index
from mufin_model.errors import ArtefactError
from mufin_model.retrieval.build_index import unit
from mufin_model.retrieval.label_index import HEAD, ROWS, LabelIndex

L, HEADS = 2000, 60


def settings(kind: str, head_items: int) -> Index:
    return Index.model_construct(kind=kind, head_items=head_items, hnsw_links=8, hnsw_effort=32, ivf_probes=2)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return unit(np.random.default_rng(0).normal(size=(L, 16))).astype(np.float32)


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    made = np.ones(L, np.int64)
    made[np.random.default_rng(1).choice(L, HEADS, replace=False)] = 1000
    return made


@pytest.fixture(scope="module")
def queries(vectors: np.ndarray) -> np.ndarray:
    return unit(vectors[::40] + 0.2 * np.random.default_rng(2).normal(size=(50, 16))).astype(np.float32)


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
@pytest.mark.parametrize("k", [10, 100])
def test_the_head_is_exact_and_takes_no_place_from_the_tail(vectors, counts, queries, kind: str, k: int) -> None:
    index = LabelIndex(vectors, counts, settings(kind, 1000))
    scores, labels = index.search(queries, k)
    assert scores.shape == labels.shape == (50, k + min(k, HEADS)) == (50, index.width(k))
    assert len(index) == L
    cosine = queries @ vectors.T
    heads = np.flatnonzero(counts >= 1000)
    nearest = heads[np.argsort(-cosine[:, heads], axis=1)[:, :k]]
    for row in range(50):
        found = labels[row][labels[row] >= 0]
        assert len(set(found)) == len(found)
        assert set(found[np.isin(found, heads)]) == set(nearest[row])
        if kind == "hnsw":
            assert (~np.isin(found, heads)).sum() == k
    real = labels >= 0
    np.testing.assert_allclose(np.take_along_axis(cosine, labels.clip(0), 1)[real], scores[real], atol=1e-5)
    assert np.isneginf(scores[~real]).all()
    assert (scores[:, :-1] >= scores[:, 1:]).all()


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_without_a_head_all_labels_are_in_one(vectors, counts, queries, kind: str, tmp_path: Path) -> None:
    for number, index in enumerate(
        (LabelIndex(vectors, counts, settings(kind, 0)), LabelIndex(vectors, counts, settings(kind, 1001)))
    ):
        assert index.search(queries, 30)[1].shape == (50, 30) == (50, index.width(30))
        folder = tmp_path / str(number)
        folder.mkdir()
        index.save(folder)
        assert not (folder / HEAD).exists()


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_all_labels_may_be_head(vectors, queries, kind: str) -> None:
    index = LabelIndex(vectors, np.full(L, 7), settings(kind, 1))
    np.testing.assert_array_equal(index.search(queries, 5)[1], np.argsort(-queries @ vectors.T, axis=1)[:, :5])


def test_saved_and_loaded(vectors, counts, queries, tmp_path: Path) -> None:
    index = LabelIndex(vectors, counts, settings("hnsw", 1000))
    index.save(tmp_path)
    loaded = LabelIndex.load(tmp_path)
    for one, other in zip(index.search(queries, 20), loaded.search(queries, 20), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (len(loaded), loaded.width(20)) == (L, 40)
    (tmp_path / HEAD / ROWS).unlink()
    with pytest.raises(ArtefactError, match="does not load"):
        LabelIndex.load(tmp_path)
