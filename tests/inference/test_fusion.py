"""The fusion of scores: what validation items tell of each part, and what stands where they tell nothing."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from mufin_model.errors import ArtefactError
from mufin_model.inference.fusion import LEAST, Fusion, choose


def components(seed: int = 0):
    rng = np.random.default_rng(seed)
    positive = rng.random((300, 20)) < 0.15
    real = rng.random((300, 20)) < 0.9
    positive &= real
    noise = {name: rng.normal(size=(300, 20)).astype(np.float32) for name in ("anchor", "noise", "other")}
    informative = (positive + 0.3 * rng.normal(size=(300, 20))).astype(np.float32) * 7 + 100
    parts = {"anchor": noise["anchor"], "noise": noise["noise"], "good": informative, "other": noise["other"]}
    return {k: np.where(real, v, -np.inf).astype(np.float32) for k, v in parts.items()}, real, positive


def test_fusion_prefers_what_informs() -> None:
    parts, real, positive = components()
    fusion = choose(parts, real, positive)
    assert fusion.weights["good"] == 1
    assert max(weight for name, weight in fusion.weights.items() if name != "good") <= 0.1
    fused = fusion(parts)
    assert np.isneginf(fused[~real]).all()
    assert np.isfinite(fused[real]).all()


def test_two_that_each_know_half_share_the_weight() -> None:
    parts, real, positive = components()
    half = np.arange(20) < 10
    rng = np.random.default_rng(1)
    knows = {"left": half, "right": ~half}
    for name, where in knows.items():
        parts[name] = np.where(real, 3.0 * (positive & where) + rng.normal(size=real.shape), -np.inf).astype(np.float32)
    chosen = choose({name: parts[name] for name in ("left", "right", "noise")}, real, positive).weights
    assert min(chosen["left"], chosen["right"]) > 0.7
    assert chosen["noise"] < 0.1


def test_few_validation_items_leave_the_first_nearly_alone() -> None:
    """What is no better by more than luck: a weight that a thousand items find to be none is small of ten, too."""
    parts, real, positive = components()
    names = ("good", "anchor", "noise", "other")
    largest = [
        max(list(choose({n: parts[n][at] for n in names}, real[at], positive[at]).weights.values())[1:])
        for at in (slice(start, start + 10) for start in range(0, 300, 10))
    ]
    assert np.mean(largest) < 0.1
    assert max(largest) < 0.5


def test_items_without_a_positive_change_no_weight() -> None:
    parts, real, positive = components()
    few = {name: part[:10] for name, part in parts.items()}
    # the same scores over and over, so that what is standardised by stays as it is
    more = {name: np.tile(part, (50, 1)) for name, part in few.items()}
    silent = np.concatenate([positive[:10], np.zeros((490, 20), bool)])
    one, other = choose(few, real[:10], positive[:10]), choose(more, np.tile(real[:10], (50, 1)), silent)
    for name, weight in one.weights.items():
        assert other.weights[name] == pytest.approx(weight, abs=1e-3), name


def test_a_score_that_is_no_number_is_told_by_name() -> None:
    parts, real, positive = components()
    parts["noise"][tuple(np.argwhere(real)[0])] = np.nan
    with pytest.raises(ArtefactError, match="'noise' are no finite numbers"):
        choose(parts, real, positive)


def test_fusion_of_constants_and_of_nothing() -> None:
    parts, real, positive = components()
    parts["flat"] = np.where(real, np.float32(3.3), -np.inf).astype(np.float32)
    fusion = choose(parts, real, positive)
    assert fusion.weights["flat"] < 1e-6
    assert np.isfinite(fusion(parts)[real]).all()
    empty = {k: v[:0] for k, v in parts.items()}
    unlinked = choose(parts, real, np.zeros_like(positive))
    for alone in (choose(empty, real[:0], positive[:0]), unlinked):
        assert alone.weights == dict.fromkeys(parts, 1.0)
        assert np.isfinite(alone(parts)[real]).all()
        json.dumps(dataclasses.asdict(alone), allow_nan=False)


def test_where_nothing_informs_what_is_right_by_construction_is_left() -> None:
    """The closed form, or else the neighbours, or else all alike."""
    parts, real, positive = components()
    against = np.where(real, -parts["good"], -np.inf)
    for names, said in (
        (("siamese", "neighbours", "ridge"), {"ridge"}),
        (("siamese", "neighbours"), {"neighbours"}),
        (("wrong", "worse"), {"wrong", "worse"}),
    ):
        found = choose(dict.fromkeys(names, against), real, positive).weights
        assert found == {name: float(name in said) for name in names}


def test_a_handful_of_validation_items_decides_nothing() -> None:
    """One fewer than the least: the part that they praise gets no weight; with as many as the least it does."""
    parts, real, positive = components()
    named = {"ridge": np.where(real, -parts["good"], -np.inf), "good": parts["good"]}
    told = np.flatnonzero((positive & real).any(1))
    for count in (LEAST - 1, LEAST):
        few = np.zeros_like(positive)
        few[told[:count]] = positive[told[:count]]
        assert (choose(named, real, few).weights["good"] > 0) == (count == LEAST)


def test_a_weight_of_zero_leaves_a_part_out() -> None:
    fusion = Fusion({"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 0.0}, {"a": 2.0, "b": 1.0})
    np.testing.assert_array_equal(fusion({"a": np.array([[4.0]]), "b": np.array([[np.nan]])}), [[2.0]])
