"""Padding of bags, against a plain loop; links as matrices."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from mufin_model.catalog.bags import pad
from mufin_model.catalog.links import ragged, restrict, to_csr

BAGS = st.lists(st.lists(st.integers(0, 99), max_size=6), min_size=1, max_size=8)


def flatten(bags: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    return ragged(pl.Series("x", bags, dtype=pl.List(pl.UInt32)))


@given(BAGS, st.data())
def test_all_rows_in_order(bags: list[list[int]], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(bags) - 1), max_size=6))
    index, mask = pad(*flatten(bags), np.array(chosen, dtype=np.int64))
    assert index.shape == mask.shape == (len(chosen), max([1, *(len(bags[bag]) for bag in chosen)]))
    assert index.dtype == np.int64
    assert mask.dtype == bool
    assert (index[~mask] == 0).all()
    for place, bag in enumerate(chosen):
        assert index[place][mask[place]].tolist() == bags[bag]


@given(BAGS, st.integers(1, 4), st.integers(0, 3))
def test_draw_without_replacement(bags: list[list[int]], limit: int, seed: int) -> None:
    distinct = [sorted(set(bag)) for bag in bags]
    everything = np.arange(len(bags))
    index, mask = pad(*flatten(distinct), everything, limit, np.random.default_rng(seed))
    again, _ = pad(*flatten(distinct), everything, limit, np.random.default_rng(seed))
    assert (index == again).all()
    for bag, drawn in zip(distinct, (index[row][mask[row]].tolist() for row in everything), strict=True):
        assert len(drawn) == min(limit, len(bag)) == len(set(drawn))
        assert set(drawn) <= set(bag)


def test_draw_is_even() -> None:
    rng = np.random.default_rng(0)
    offsets, rows = flatten([[0, 1, 2], [3, 4, 5, 6, 7]])
    index, mask = pad(offsets, rows, np.array([0, 1] * 4000), 2, rng)
    counts = np.bincount(index[mask], minlength=8)
    np.testing.assert_allclose(counts[:3], 4000 * 2 / 3, rtol=0.06)
    np.testing.assert_allclose(counts[3:], 4000 * 2 / 5, rtol=0.06)


def test_first_rows_without_a_source_of_chance() -> None:
    index, mask = pad(*flatten([[4, 5, 6], [], [7]]), np.array([0, 1, 2]), 2)
    assert index.tolist() == [[4, 5], [0, 0], [7, 0]]
    assert mask.tolist() == [[True, True], [False, False], [True, False]]


def test_matrices() -> None:
    matrix = to_csr(np.array([1, 0, 1]), np.array([2, 0, 2]), (3, 3))
    assert matrix.toarray().tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    links = pl.DataFrame({"item": [0, 2, 5, 5], "label": [1, 0, 2, 4]}, schema={"item": pl.UInt32, "label": pl.UInt32})
    part = restrict(links, np.array([2, 5]), range(0, 3))
    assert part.toarray().tolist() == [[1, 0, 0], [0, 0, 1]]
    assert part.has_canonical_format
    assert restrict(links, np.array([], dtype=np.int64), range(3, 5)).shape == (0, 2)
