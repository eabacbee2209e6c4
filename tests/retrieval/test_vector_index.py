"""The indexes behind one protocol: exact, recall, saved, damaged, built alike each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mufin_model.config import Index
from mufin_model.errors import ArtefactError
from mufin_model.retrieval.build_index import unit
from mufin_model.retrieval.index import FILE, VectorIndex

KINDS = ("flat", "hnsw", "ivf")


def settings(kind: str) -> Index:
    return Index.model_construct(kind=kind, head_items=0, hnsw_links=32, hnsw_effort=200, ivf_probes=24)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(60, 24))
    return unit(centres[rng.integers(0, 60, 3000)] + 0.4 * rng.normal(size=(3000, 24))).astype(np.float32)


@pytest.fixture(scope="module")
def queries(vectors: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(1)
    return unit(vectors[rng.integers(0, len(vectors), 200)] + 0.05 * rng.normal(size=(200, 24))).astype(np.float32)


def test_flat_is_exact(vectors: np.ndarray, queries: np.ndarray) -> None:
    scores, rows = VectorIndex(vectors, settings("flat")).search(queries, 10)
    exact = queries @ vectors.T
    np.testing.assert_allclose(scores, -np.sort(-exact, axis=1)[:, :10], atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(exact, rows, 1), scores, atol=1e-5)


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_approximate_ones_find_nearly_all(vectors: np.ndarray, queries: np.ndarray, kind: str) -> None:
    _, exact = VectorIndex(vectors, settings("flat")).search(queries, 50)
    scores, found = VectorIndex(vectors, settings(kind)).search(queries, 50)
    recall = np.mean([len(set(a) & set(b)) / 50 for a, b in zip(exact, found, strict=True)])
    assert recall >= 0.95
    real = found >= 0
    np.testing.assert_allclose(np.take_along_axis(queries @ vectors.T, found.clip(0), 1)[real], scores[real], atol=1e-5)
    assert (np.diff(scores, axis=1) <= 1e-6).all()


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded(vectors: np.ndarray, queries: np.ndarray, kind: str, tmp_path: Path) -> None:
    index = VectorIndex(vectors, settings(kind))
    index.save(tmp_path)
    loaded = VectorIndex.load(tmp_path)
    assert len(loaded) == len(vectors)
    for one, other in zip(index.search(queries, 20), loaded.search(queries, 20), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_vectors_give_equal_files(vectors: np.ndarray, kind: str, tmp_path: Path) -> None:
    files = []
    for name in "ab":
        (tmp_path / name).mkdir()
        VectorIndex(vectors, settings(kind)).save(tmp_path / name)
        files.append((tmp_path / name / FILE).read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 5, 40])
def test_few_vectors_and_fewer_than_asked_for(vectors: np.ndarray, kind: str, n: int) -> None:
    scores, rows = VectorIndex(vectors[:n], settings(kind)).search(vectors[:3], 100)
    assert scores.shape == rows.shape == (3, n)
    assert (np.sort(rows, axis=1) == np.arange(n)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_no_queries(vectors: np.ndarray, kind: str) -> None:
    scores, rows = VectorIndex(vectors[:100], settings(kind)).search(vectors[:0], 7)
    assert scores.shape == rows.shape == (0, 7)


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "garbage"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_index_is_named(vectors: np.ndarray, kind: str, damage: str, tmp_path: Path) -> None:
    path = tmp_path / FILE
    VectorIndex(vectors[:500], settings(kind)).save(tmp_path)
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "garbage": b"\xff" * len(whole)}[damage])
    with pytest.raises(ArtefactError, match="does not load"):
        VectorIndex.load(tmp_path)


def in_last_bits(x: np.ndarray, seed: int) -> np.ndarray:
    """The same vectors as another batch or device computes them."""
    return (x * (1 + 1e-7 * np.random.default_rng(seed).normal(size=x.shape))).astype(np.float32)


@pytest.mark.parametrize("groups", [1, 12, 150])
@pytest.mark.parametrize("k", [1, 10, 50])
def test_of_equal_vectors_the_lower_row_is_nearer(groups: int, k: int) -> None:
    """Whatever last bits the batch gave: of the query's own group the first rows, in their order."""
    rng = np.random.default_rng(4)
    kinds, of = unit(rng.normal(size=(groups, 64))), rng.integers(0, groups, 901)
    index = VectorIndex(in_last_bits(kinds[of], 1), settings("flat"))
    asked = of[:90]
    scores, rows = index.search(in_last_bits(kinds[asked], 2), k)
    for group, found, told in zip(asked, rows, scores, strict=True):
        own = np.flatnonzero(of == group)[:k]
        np.testing.assert_array_equal(found[: len(own)], own)
        assert len(set(told[: len(own)].tolist())) == 1
    again = in_last_bits(kinds[asked], 3)
    np.testing.assert_array_equal(index.search(again, k)[1], rows)
    alone = np.concatenate([index.search(one[None], k)[1] for one in again])
    np.testing.assert_array_equal(alone, rows)


def test_ties_are_settled_a_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And rows that are clearly nearer keep their places before the tie."""
    monkeypatch.setattr("mufin_model.retrieval.index.CELLS", 1)
    near, tied = np.eye(1, 8), np.eye(8)[np.full(40, 1)]
    index = VectorIndex(np.concatenate([tied, near]).astype(np.float32), settings("flat"))
    query = unit(np.array([[2.0, 1, 0, 0, 0, 0, 0, 0]])).repeat(3, axis=0)
    _, rows = index.search(query, 5)
    assert rows.tolist() == [[40, 0, 1, 2, 3]] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_equal_ones_come_in_the_order_of_their_rows(kind: str) -> None:
    """Of all kinds, among those that were found."""
    rng = np.random.default_rng(6)
    kinds = unit(rng.normal(size=(60, 24)))
    index = VectorIndex(in_last_bits(kinds[np.arange(600) % 60], 1), settings(kind))
    scores, rows = index.search(in_last_bits(kinds, 2), 30)
    lower, real = np.diff(scores, axis=1) < 0, rows[:, 1:] >= 0
    assert (~lower & real).any()
    assert (lower | (np.diff(rows, axis=1) > 0))[real].all()
