"""What the sampler of Module IV draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from mufin_model.training.shortlists import ShortlistSampler

L = 40


@pytest.fixture
def sampler(tmp_path: Path, settings_of) -> ShortlistSampler:
    """Two items: the first has labels 0 and 9 on its list and 39 beside it; the second's list is half padding."""
    truth = sparse.csr_matrix((np.ones(4), ([0, 0, 0, 1], [0, 9, 39, 5])), shape=(3, L), dtype=np.float32)
    labels = np.stack([np.arange(20), np.r_[np.arange(5, 15), np.full(10, -1)], np.arange(20)]).astype(np.int32)
    scores = np.tile(np.linspace(0.9, -0.1, 20), (3, 1)).astype(np.float16)
    scores[1, 10:] = -np.inf
    positive = np.zeros(labels.shape, bool)
    positive[0, [0, 9]], positive[1, 0] = True, True
    for name, table in (("labels", labels), ("scores", scores), ("positive", positive)):
        np.save(tmp_path / f"{name}.npy", table)
    chosen = settings_of("finetune.positives=2", "finetune.negatives=6", "finetune.drop_top_negatives=2").finetune
    return ShortlistSampler(truth, tmp_path, chosen)


def many(sampler: ShortlistSampler, rows: list[int], times: int = 400):
    return [sampler.draw(np.array(rows), np.random.default_rng(seed)) for seed in range(times)]


def test_items_without_labels_are_left_out(sampler: ShortlistSampler) -> None:
    assert sampler.usable.tolist() == [0, 1]


def test_positives_are_positive_and_negatives_negative(sampler: ShortlistSampler) -> None:
    for drawn, positive, real in many(sampler, [1, 0], 100):
        assert drawn.shape == positive.shape == real.shape == (2, 8)
        assert drawn.dtype == np.int64
        assert ((drawn >= 0) & (drawn < L)).all()
        for place, row in enumerate((1, 0)):
            truth = set(sampler.links[row].indices)
            own = drawn[place][real[place] & positive[place]].tolist()
            others = drawn[place][real[place] & ~positive[place]].tolist()
            assert set(own) <= truth
            assert not set(others) & truth
            assert len(set(own)) == len(own) == min(2, len(truth))
            assert len(set(others)) == len(others) == 6


def test_positives_that_the_shortlist_missed_are_drawn(sampler: ShortlistSampler) -> None:
    counts = np.zeros(L)
    for drawn, positive, real in many(sampler, [0]):
        np.add.at(counts, drawn[positive & real], 1)
    assert counts[39] > 100
    # The less similar, the oftener; a missed one is like the last of the list.
    assert counts[39] > counts[9] > counts[0] > 0


def test_hard_negatives_are_drawn_oftener(sampler: ShortlistSampler) -> None:
    counts = np.zeros(L)
    for drawn, positive, real in many(sampler, [0]):
        np.add.at(counts, drawn[~positive & real], 1)
    assert counts[3:7].mean() > 2 * counts[14:20].mean() > 0
    # The best two negatives may be missing positives.
    assert counts[1] == counts[2] == 0
    assert not counts[20:].any()


def test_padding_is_never_real(sampler: ShortlistSampler) -> None:
    for drawn, positive, real in many(sampler, [1], 50):
        # One positive, and 9 negatives of which the best two are dropped.
        assert real[0].sum() == 1 + 6
        assert set(drawn[0][real[0]]) <= set(range(5, 15))
        assert (positive & real).sum() == 1


def test_a_missed_positive_beside_padding_is_drawn_by_chance(sampler: ShortlistSampler) -> None:
    sampler.links = sparse.csr_matrix((np.ones(3), ([1, 1, 1], [5, 14, 30])), shape=(3, L), dtype=np.float32)
    sampler.positive = sampler.positive.copy()
    sampler.positive[1, 9] = True
    counts = np.zeros(L)
    for drawn, positive, real in many(sampler, [1]):
        np.add.at(counts, drawn[positive & real], 1)
    # As hard as the last real label, not certain because of the padding.
    assert counts[30] < 400
    assert counts[14] == pytest.approx(counts[30], rel=0.15)


def test_the_seed_is_all_the_chance_there_is(sampler: ShortlistSampler) -> None:
    rows = np.array([0, 1])
    draws = [sampler.draw(rows, np.random.default_rng([3, 2, epoch]))[0] for epoch in (0, 0, 1, 2)]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert not np.array_equal(draws[2], draws[3])


def test_short_lists_give_what_they_have(tmp_path: Path, settings_of) -> None:
    for name, table in (
        ("labels", np.zeros((1, 1), np.int32)),
        ("scores", np.ones((1, 1), np.float16)),
        ("positive", np.ones((1, 1), bool)),
    ):
        np.save(tmp_path / f"{name}.npy", table)
    links = sparse.csr_matrix(np.ones((1, 1), np.float32))
    drawn, positive, real = ShortlistSampler(links, tmp_path, settings_of().finetune).draw(
        np.array([0]), np.random.default_rng(0)
    )
    assert (positive & real).sum() == real.sum() == 1
    assert drawn[real].tolist() == [0]


def test_an_item_whose_list_holds_no_negative_gets_random_ones(sampler: ShortlistSampler) -> None:
    sampler.positive = np.zeros_like(sampler.positive)
    sampler.positive[1, :9] = True  # one other left, which is dropped as the best
    sampler.links = sparse.csr_matrix((np.ones(9), (np.ones(9, int), np.arange(5, 14))), shape=(3, L), dtype=np.float32)
    seen: set[int] = set()
    for drawn, positive, real in many(sampler, [1], 100):
        negatives = drawn[0][real[0] & ~positive[0]]
        assert not set(negatives) & set(range(5, 14))
        seen |= set(negatives)
    assert seen == set(range(L)) - set(range(5, 14))
