"""Which positive label a batch trains on."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from mufin_model.catalog.propensity import inverse_propensity
from mufin_model.training.positives import Positives

LINKS = sparse.csr_matrix(
    np.array([[1, 1, 0, 1], [1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]], np.float32)
)


def shares(balanced: bool) -> np.ndarray:
    """How often each label is drawn for item 0, which has labels 0, 1 and 3."""
    drawn = Positives(LINKS, balanced).draw(np.zeros(40_000, np.int64), np.random.default_rng(0))
    return np.bincount(drawn, minlength=4) / len(drawn)


def test_uniform() -> None:
    np.testing.assert_allclose(shares(False), [1 / 3, 1 / 3, 0, 1 / 3], atol=0.01)


def test_balanced_is_in_proportion_to_the_inverse_propensity() -> None:
    weights = inverse_propensity([6, 3, 1, 1], 6) * [1, 1, 0, 1]
    assert weights[3] > 1.2 * weights[0]  # far enough from uniform to tell
    np.testing.assert_allclose(shares(True), weights / weights.sum(), atol=0.01)


def test_every_draw_is_a_positive_of_its_item() -> None:
    rows = np.random.default_rng(1).integers(0, 6, 2000)
    for balanced in (False, True):
        drawn = Positives(LINKS, balanced).draw(rows, np.random.default_rng(2))
        assert (np.asarray(LINKS[rows, drawn]) == 1).all()


def test_a_chance_of_almost_one_stays_within_the_item() -> None:
    class Last:
        def random(self, count: int) -> np.ndarray:
            return np.full(count, np.nextafter(1.0, 0.0))

    for balanced in (False, True):
        drawn = Positives(LINKS, balanced).draw(np.arange(6), Last())  # type: ignore[arg-type]
        assert drawn.tolist() == [3, 0, 1, 2, 0, 1]
