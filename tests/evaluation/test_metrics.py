"""The metrics against oracles written as plain loops over dense rows, and against numbers worked out by hand."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from mufin_model.catalog.propensity import inverse_propensity
from mufin_model.evaluation.metrics import BLOCK, evaluate_scores, keep_top, row_metrics, top_k, true_ranks
from mufin_model.evaluation.metrics import without as remove


def oracle(scores: csr_matrix, truth: csr_matrix, w: np.ndarray, ks: list[int], recall_ks: list[int]) -> dict:
    n = scores.shape[0]
    result: dict[str, float] = {}
    ranked, true, ideal = [], [], []
    for i in range(n):
        cells = [(scores.data[j], scores.indices[j]) for j in range(scores.indptr[i], scores.indptr[i + 1])]
        ranked.append([label for _, label in sorted(cells, key=lambda cell: (-cell[0], cell[1]))])
        labels = {truth.indices[j] for j in range(truth.indptr[i], truth.indptr[i + 1]) if truth.data[j] != 0}
        true.append(labels)
        ideal.append(sorted((w[label] for label in labels), reverse=True))
    for k in ks:
        p = dcg = 0.0
        ps = ps_best = psn = psn_best = 0.0
        for i in range(n):
            norm = sum(1 / math.log2(j + 2) for j in range(min(k, len(true[i])))) or 1.0
            for j, label in enumerate(ranked[i][:k]):
                if label in true[i]:
                    p += 1 / k
                    dcg += 1 / math.log2(j + 2) / norm
                    ps += w[label] / k
                    psn += w[label] / math.log2(j + 2) / norm
            for j, weight in enumerate(ideal[i][:k]):
                ps_best += weight / k
                psn_best += weight / math.log2(j + 2) / norm
        result |= {f"P@{k}": p / n, f"nDCG@{k}": dcg / n, f"PSP@{k}": ps / ps_best, f"PSnDCG@{k}": psn / psn_best}
    for k in recall_ks:
        hits = [len(true[i] & set(ranked[i][:k])) / max(1, len(true[i])) for i in range(n)]
        result[f"R@{k}"] = sum(hits) / n
    return result


def random_case(seed: int, n: int = 60, n_labels: int = 40) -> tuple[csr_matrix, csr_matrix, csr_matrix]:
    """Scores of few distinct values (ties), rows without scores or truth, rows unsorted, and filter pairs."""
    rng = np.random.default_rng(seed)
    scores = np.where(rng.random((n, n_labels)) < 0.4, rng.integers(-3, 4, (n, n_labels)) / 4, np.nan)
    truth = (rng.random((n, n_labels)) < 0.12).astype(np.float32)
    scores[::7], truth[::5] = np.nan, 0
    indices, data, indptr = [], [], [0]
    for row in scores:
        columns = rng.permutation(np.flatnonzero(~np.isnan(row)))
        indices.extend(columns)
        data.extend(row[columns])
        indptr.append(len(indices))
    matrix = csr_matrix((np.array(data, np.float32), np.array(indices, np.int32), indptr), shape=scores.shape)
    return matrix, csr_matrix(truth), csr_matrix(rng.random((n, n_labels)) < 0.1, dtype=np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_oracle_with_ties_empty_rows_and_filters(seed: int) -> None:
    scores, truth, filters = random_case(seed)
    w = inverse_propensity(np.random.default_rng(seed).integers(0, 50, 40), 500)
    ks, recall_ks = [1, 2, 3, 5, 20], [1, 10, 100]
    filtered = []
    for matrix in (scores, truth):
        kept = matrix.tocoo()
        banned = set(zip(*filters.nonzero(), strict=True))
        mask = [(r, c) not in banned for r, c in zip(kept.row, kept.col, strict=True)]
        filtered.append(csr_matrix((kept.data[mask], (kept.row[mask], kept.col[mask])), shape=matrix.shape))
    got = evaluate_scores(remove(scores, filters), remove(truth, filters), w, ks, recall_ks)
    wanted = oracle(*filtered, w, ks, recall_ks)
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        assert got[name] == pytest.approx(value, abs=1e-9), name


def test_hand_computed() -> None:
    # item 0: ranks 2, 0, 1; true {0, 3}. item 1: ranks 1; true {1}. item 2: nothing retrieved, nothing true.
    scores = csr_matrix(np.array([[0.5, 0.2, 0.9, 0], [0, 0.1, 0, 0], [0, 0, 0, 0]]))
    truth = csr_matrix(np.array([[1.0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]]))
    got = evaluate_scores(scores, truth, [1.0, 2.0, 1.0, 4.0], [1, 2], [2])
    second = 1 / math.log2(3)
    assert got["P@1"] == pytest.approx(1 / 3)
    assert got["P@2"] == pytest.approx((1 / 2 + 1 / 2) / 3)
    assert got["nDCG@2"] == pytest.approx((second / (1 + second) + 1) / 3)
    assert got["R@2"] == pytest.approx((1 / 2 + 1) / 3)
    assert got["PSP@1"] == pytest.approx(2 / (4 + 2))
    assert got["PSP@2"] == pytest.approx((1 + 2) / (5 + 2))
    norm = 1 + second
    assert got["PSnDCG@2"] == pytest.approx((second / norm + 2) / ((4 + second) / norm + 2))


def test_ties_go_to_the_lower_label() -> None:
    scores = csr_matrix(np.full((1, 3), 0.5))
    assert evaluate_scores(scores, csr_matrix([[1.0, 0, 0]]), np.ones(3), [1])["P@1"] == 1
    assert evaluate_scores(scores, csr_matrix([[0, 0, 1.0]]), np.ones(3), [1])["P@1"] == 0
    assert top_k(scores, 2)[0].tolist() == [[0, 1]]


def test_nan_is_never_retrieved() -> None:
    scores = csr_matrix((np.array([np.nan, 0.1]), ([0, 0], [0, 1])), shape=(1, 2))
    assert evaluate_scores(scores, csr_matrix([[1.0, 0]]), np.ones(2), [1], [2])["R@2"] == 0
    assert evaluate_scores(scores, csr_matrix([[0, 1.0]]), np.ones(2), [1], [2])["P@1"] == 1
    assert top_k(scores, 2)[0].tolist() == [[1, -1]]


def test_duplicates_and_zeros_in_the_truth_do_not_count_twice() -> None:
    truth = csr_matrix((np.array([1.0, 1.0, 0.0]), ([0, 0, 0], [1, 1, 0])), shape=(1, 2))
    got = evaluate_scores(csr_matrix([[0.9, 0.5]]), truth, np.ones(2), [1, 2], [2])
    assert (got["P@1"], got["P@2"], got["R@2"]) == (0, 0.5, 1)


def test_ranks_top_and_rows_agree() -> None:
    scores, truth, _ = random_case(9)
    rows, labels, ranks = true_ranks(scores, truth)
    best, values = top_k(scores, 5)
    assert (values[:, 1:] <= values[:, :-1]).all()
    for row, label, rank in zip(rows, labels, ranks, strict=True):
        assert (rank < 5) == (label in best[row])
        assert rank >= 5 or best[row, rank] == label
    by_row = row_metrics(scores, truth, np.ones(40), [5], [5])
    assert np.bincount(rows[ranks < 5], minlength=60) / 5 == pytest.approx(by_row.column("P@5"))
    kept = evaluate_scores(keep_top(scores, 5), truth, np.ones(40), [5], [5])
    assert kept == pytest.approx(by_row.mean(), abs=1e-12)


def test_many_rows_on_several_threads_are_as_few() -> None:
    rng, n = np.random.default_rng(4), 2 * BLOCK + 3
    scores = csr_matrix((rng.random(3 * n), rng.integers(0, 40, 3 * n), np.arange(n + 1) * 3), shape=(n, 40))
    truth = csr_matrix((np.ones(n), rng.integers(0, 40, n), np.arange(n + 1)), shape=(n, 40))
    weights = rng.random(40) + 1
    scores.sum_duplicates()
    every = row_metrics(scores, truth, weights, [1, 2], [3])
    for start in range(0, n, 100):
        few = row_metrics(scores[start : start + 100], truth[start : start + 100], weights, [1, 2], [3])
        np.testing.assert_array_equal(every.values[start : start + 100], few.values)
        np.testing.assert_array_equal(every.best[start : start + 100], few.best)


def test_torch_keeps_its_threads() -> None:
    """As many threads, and the next training in this process is the same to the last bit."""
    code = """
import numpy, torch
from scipy.sparse import eye_array
from mufin_model.evaluation.metrics import top_k
before = torch.get_num_threads()
top_k(eye_array(10, format="csr"), 1)
print(before, torch.get_num_threads())
"""
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["1", "1"]


def test_no_items() -> None:
    empty = csr_matrix((0, 3))
    assert set(evaluate_scores(empty, empty, np.ones(3)).values()) == {0.0}


def test_shapes_that_disagree_are_refused() -> None:
    with pytest.raises(ValueError, match="truth"):
        evaluate_scores(csr_matrix((2, 3)), csr_matrix((2, 4)), np.ones(3))
    with pytest.raises(ValueError, match="inverse"):
        evaluate_scores(csr_matrix((2, 3)), csr_matrix((2, 3)), np.ones(4))


def test_inverse_propensity() -> None:
    weights = inverse_propensity([0, 1, 100], 1000, a=0.6, b=2.6)
    assert weights[1] == pytest.approx(1 + (math.log(1000) - 1) * 3.6**0.6 * 3.6**-0.6)
    assert (np.diff(weights) < 0).all()
    assert inverse_propensity([1], 2)[0] == 1
