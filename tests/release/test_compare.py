"""The paired bootstrap against a plain one, and what it passes and refuses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from mufin_model.config import Release
from mufin_model.evaluation.buckets import buckets
from mufin_model.release.compare import Comparison, compare, resample
from tests.conftest import small_settings

ITEMS, HEAD, TAIL = 600, 40, 60
LABELS = HEAD + TAIL
COUNTS = np.r_[np.full(HEAD, 80), np.full(TAIL, 2)]


def release(*overrides: str) -> Release:
    return small_settings(*overrides).release


@pytest.fixture(scope="module")
def truth() -> csr_matrix:
    """Each item has two frequent labels; every second one a rare label too."""
    rng = np.random.default_rng(1)
    dense = np.zeros((ITEMS, LABELS), np.float32)
    for row in range(ITEMS):
        dense[row, rng.choice(HEAD, 2, replace=False)] = 1
        if row % 2:
            dense[row, HEAD + rng.integers(TAIL)] = 1
    return csr_matrix(dense)


def model(truth: csr_matrix, head: float, tail: float, seed: int) -> csr_matrix:
    """Scores that rank true labels first with these chances, and else among twenty labels at random."""
    rng = np.random.default_rng(seed)
    found = truth.toarray().astype(bool) & (rng.random(truth.shape) < np.where(np.arange(LABELS) < HEAD, head, tail))
    wrong = rng.random(truth.shape) * (rng.random(truth.shape) < 0.2) * ~truth.toarray().astype(bool)
    return csr_matrix(np.where(found, 2 + rng.random(truth.shape), wrong).astype(np.float32))


def judged(ours: csr_matrix, theirs: csr_matrix, truth: csr_matrix, *overrides: str) -> dict[str, Comparison]:
    groups = buckets(COUNTS, truth)
    return {one.name: one for one in compare(ours, theirs, truth, groups, release(*overrides), 7)}


def test_it_is_the_bootstrap_over_items() -> None:
    rng = np.random.default_rng(2)
    weight = rng.integers(0, 4, 400).astype(float)
    gap = np.round(rng.normal(0.1, 0.4, 400) * (weight > 0), 3)
    ours = resample(gap, weight, 3)
    plain = []
    for _ in range(4000):
        rows = rng.integers(0, 400, 400)
        plain.append(gap[rows].sum() / weight[rows].sum())
    assert ours.mean() == pytest.approx(np.mean(plain), abs=0.002)
    assert np.quantile(ours, [0.025, 0.5, 0.975]) == pytest.approx(np.quantile(plain, [0.025, 0.5, 0.975]), abs=0.004)


def test_itself_is_no_worse_than_itself(truth: csr_matrix) -> None:
    same = model(truth, 0.7, 0.5, 1)
    found = judged(same, same, truth, "release.risk=0", "release.tolerance=0", "release.bucket_tolerance=0")
    assert set(found) == {"P@1", "nDCG@5", "R@10 of 1-2", "R@10 of >50"}
    assert all(one.passed and one.risk == 0 and one.ours == one.theirs for one in found.values())


def test_a_model_that_is_worse_is_refused_and_a_better_one_passes(truth: csr_matrix) -> None:
    better, worse = model(truth, 0.5, 0.5, 1), model(truth, 0.3, 0.4, 2)
    assert not judged(worse, better, truth)["P@1"].passed
    assert judged(worse, better, truth)["P@1"].high < -0.01
    assert all(one.passed for one in judged(better, worse, truth).values())


def test_one_that_loses_the_tail_alone_is_refused_for_it(truth: csr_matrix) -> None:
    found = judged(
        model(truth, 0.9, 0.1, 1), model(truth, 0.9, 0.6, 1), truth, "release.metrics=[P@1]", "release.tolerance=0.05"
    )
    assert found["P@1"].passed
    assert found["R@10 of >50"].passed
    assert not found["R@10 of 1-2"].passed
    assert found["R@10 of 1-2"].over == ITEMS // 2
    few = judged(model(truth, 0.7, 0.1, 1), model(truth, 0.7, 0.6, 1), truth, "release.least_links=1000")["R@10 of 1-2"]
    assert few.passed
    assert not few.decides
    assert few.risk == 1


def test_a_smaller_risk_wants_more_proof(truth: csr_matrix) -> None:
    """Equally good models: chance alone parts them, and 600 items do not prove a point."""
    pairs = [(model(truth, 0.3, 0.3, 2 * n), model(truth, 0.3, 0.3, 2 * n + 1)) for n in range(12)]
    passed = {
        risk: sum(
            judged(*pair, truth, f"release.risk={risk}", "release.tolerance=0.02")["P@1"].passed for pair in pairs
        )
        for risk in (0.05, 0.5, 0.95)
    }
    assert passed[0.05] < passed[0.5] < passed[0.95]
    assert passed[0.95] == len(pairs)


def test_no_test_items_say_nothing() -> None:
    none = csr_matrix((0, LABELS), dtype=np.float32)
    assert all(one.risk == 0 for one in judged(none, none, none).values())
