"""Small samples do not alarm: a rule that too few rows cannot break says so, and many rows still break it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mufin_dagster import signatures
from mufin_dagster.quality import evidence, rules
from mufin_dagster.quality.validator import judge


def outcome(noun: str, name: str, frame: pd.DataFrame):
    (rule,) = rules.of(noun, {name})
    (found,) = judge(frame, [rule])
    return found


@pytest.mark.parametrize(("labels", "untrained", "passed"), [(3, 1, True), (4, 4, False), (200, 30, False)])
def test_a_share_of_few_rows_is_not_judged(labels: int, untrained: int, passed: bool) -> None:
    frame = pd.DataFrame({"train_items": [0] * untrained + [1] * (labels - untrained)})
    found = outcome("raw_descriptors", "labels_trained", frame)
    assert found.passed is passed
    assert found.unexpected_count == untrained
    if passed:
        assert found.summary == "cannot tell: 1 of 3 rows break it, too few rows to say more"


def test_a_tolerated_share_of_many_rows_is_no_chance() -> None:
    frame = pd.DataFrame({"train_items": [0] * 40 + [1] * 960})
    assert outcome("raw_descriptors", "labels_trained", frame).summary == "40 of 1,000 rows break it"


def test_a_critical_rule_is_broken_by_one_row() -> None:
    frame = pd.DataFrame({"scored": [0, 5, 5]})
    assert not outcome("predictions", "items_scored", frame).passed


@pytest.mark.parametrize(("asked", "near", "passed"), [(5, 1, True), (100, 12, False)])
def test_one_near_copy_among_five_test_items_is_no_leak(asked: int, near: int, passed: bool) -> None:
    texts = [f"text {row}" for row in range(asked)]
    frame = pd.DataFrame({"text": texts[:near] + texts, "split": ["train"] * near + ["test"] * asked})
    found = outcome("raw_descriptors", "test_texts_new", frame)
    assert found.passed is passed
    assert found.summary.startswith("cannot tell") is passed


@pytest.mark.parametrize(("rows", "passed"), [(6, True), (2000, False)])
def test_drift_of_six_rows_is_chance(rows: int, passed: bool) -> None:
    rng = np.random.default_rng(1)
    values = np.r_[rng.normal(0, 1, rows), rng.normal(0.9, 1, rows)]
    frame = pd.DataFrame({"characters": values, "era": ["release"] * rows + ["now"] * rows})
    assert outcome("raw_descriptors", "text_lengths_stable", frame).passed is passed


def test_three_labels_have_no_head() -> None:
    assert outcome("raw_descriptors", "head_labels_share", pd.DataFrame({"train_items": [8, 1, 1]})).passed
    many = pd.DataFrame({"train_items": [900] + [1] * 199})
    assert not outcome("raw_descriptors", "head_labels_share", many).passed


def test_the_bounds_are_those_of_the_sample_itself_when_it_is_large() -> None:
    assert evidence.at_least([2], 3)[0] < 0.5 < evidence.at_least([2000], 3000)[0]
    assert evidence.at_least([0, 5], 5).tolist() == pytest.approx([0.0, 0.1 ** (1 / 5)])
    assert evidence.beyond_chance(1, 2, 0, 8) < 0.15 < evidence.beyond_chance(100, 200, 0, 800)


def test_a_tail_of_five_links_is_not_judged() -> None:
    buckets = {"1-2": {"recall_10": 0.0, "links": 5}, ">50": {"recall_10": 0.9, "links": 400}}
    passed, told, _ = signatures.tail(buckets, 0.3)
    assert passed
    assert "too few true links to tell: 1-2 (5)" in told
    buckets["1-2"]["links"] = 50
    assert not signatures.tail(buckets, 0.3)[0]
