"""Our own expectations: what counts as near, as head and as moved; each against a plain computation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image, ImageDraw

from mufin_dagster.drift import stability
from mufin_dagster.quality.expectations import OWN, find
from mufin_dagster.quality.expectations.near_pictures import MAX_BITS, twin_of_hashes
from mufin_dagster.quality.expectations.near_texts import twin_of_texts
from mufin_dagster.quality.raw_leakage import SIDE, perceptual_hash
from mufin_dagster.quality.rule import HEAD_SHARE, STABLE, Rule
from mufin_dagster.quality.validator import judge

KNOWN = "Steel bottle 750 ml with bamboo lid, blue"


def _rule(name: str, **kwargs: object) -> Rule:
    return Rule("x", "raw_descriptors", "x", name, kwargs, "warning", "It is.")


@pytest.mark.parametrize("name", OWN)
def test_each_is_found_by_its_name(name: str) -> None:
    assert find(name).__name__ == name


@pytest.mark.parametrize(
    ("text", "near"),
    [
        (KNOWN, True),
        ("STEEL BOTTLE, 750 ml; bamboo-lid with: blue", True),
        ("Steel bottle 750 ml with bamboo lid", True),
        ("Steel bottle 750 ml with bamboo lid, light blue", True),
        ("Steel bottle 750 ml with bamboo lid, red", False),
        ("Steel bottle 750 ml bamboo", False),
        ("Steel bottle steel bottle 750 ml with bamboo lid, blue", False),
        ("", False),
        ("!?", False),
    ],
)
def test_near_texts(text: str, near: bool) -> None:
    twin = twin_of_texts(pl.Series(["other", "", "...", KNOWN, text]), np.array([False] * 4 + [True]))
    assert twin[:4].tolist() == [-1] * 4
    assert twin[4] == (3 if near else -1)


def test_a_word_more_makes_another_of_a_short_text() -> None:
    twin = twin_of_texts(pl.Series(["arrow", "arrow left"]), np.array([False, True]))
    assert twin.tolist() == [-1, -1]


def test_near_hashes_are_those_that_all_pairs_would_find() -> None:
    rng = np.random.default_rng(3)
    hashes = rng.integers(0, 2**64, 600, dtype=np.uint64)
    is_test = np.arange(600) >= 300
    for row in range(300):  # a test picture differs in 0 to 4 bits from the training picture of its number
        flips = sum((1 << int(bit) for bit in rng.permutation(64)[: row % 5]), 0)
        hashes[300 + row] = hashes[row] ^ np.uint64(flips)
    twin = twin_of_hashes(hashes, is_test)
    distance = np.bitwise_count(hashes[300:, None] ^ hashes[None, :300])
    np.testing.assert_array_equal(twin[300:] >= 0, (distance <= MAX_BITS).any(1))
    assert (twin[300:] >= 0).sum() == 180
    hit = np.flatnonzero(twin >= 0)
    assert (np.bitwise_count(hashes[hit] ^ hashes[twin[hit]]) <= MAX_BITS).all()


def test_pictures_that_look_alike_have_near_hashes() -> None:
    def drawn(seed: int) -> Image.Image:
        rng = np.random.default_rng(seed)
        image = Image.new("L", (96, 96), 255)
        for _ in range(6):
            x, y, w, h = rng.integers(0, 60, 4).tolist()
            ImageDraw.Draw(image).ellipse((x, y, x + w + 8, y + h + 8), fill=int(rng.integers(0, 200)))
        return image

    def small(image: Image.Image) -> np.ndarray:
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))

    seen = [drawn(seed) for seed in range(20)]
    plain = perceptual_hash(np.stack([small(image) for image in seen]))
    changed = perceptual_hash(np.stack([small(image.resize((64, 64)).point(lambda v: v * 0.8 + 20)) for image in seen]))
    distance = np.bitwise_count(plain[:, None] ^ changed[None, :])
    assert (np.diag(distance) <= MAX_BITS).mean() >= 0.9
    assert distance[~np.eye(20, dtype=bool)].min() > MAX_BITS


def test_population_stability_is_its_formula() -> None:
    rng = np.random.default_rng(5)
    then, now = rng.normal(0, 1, 4000), rng.normal(0.5, 1, 3000)
    edges, before, after = stability(then, now)
    inner = edges[1:-1]
    for values, shares in ((then, before), (now, after)):
        counts = [
            ((values > low) & (values <= high)).sum() for low, high in zip([-9, *inner], [*inner, 9], strict=True)
        ]
        np.testing.assert_allclose(shares, np.array(counts) / len(values))
    expected = float(((after - before) * np.log(after / before)).sum())
    frame = pd.DataFrame(
        {"v": np.concatenate([then, now]), "era": ["release"] * len(then) + ["now"] * len(now)},
    )
    (outcome,) = judge(frame, [_rule(STABLE, column="v", era="era", max_value=0.25)])
    assert outcome.observed == pytest.approx(expected, abs=1e-4)
    # between unit normals half a deviation apart it is 0.25 in the limit of narrow bins
    assert 0.15 < expected < 0.3


def test_the_same_population_is_stable_and_a_constant_that_moved_is_not() -> None:
    rng = np.random.default_rng(6)
    for n in (60, 300, 5000):
        _, before, after = stability(rng.normal(size=n), rng.normal(size=n))
        assert ((after - before) * np.log(after / before)).sum() < 0.2
    _, before, after = stability(np.full(500, 3), np.full(20, 4))
    assert ((after - before) * np.log(after / before)).sum() > 1


def test_without_a_release_nothing_is_said() -> None:
    frame = pd.DataFrame({"v": [1.0, 2.0], "era": ["now", "now"]})
    (outcome,) = judge(frame, [_rule(STABLE, column="v", era="era", max_value=0.25)])
    assert outcome.passed
    assert outcome.observed == "no release to compare with"


def test_head_share() -> None:
    frame = pd.DataFrame({"id": [f"l{row}" for row in range(100)], "n": [40, 20, *[1] * 98]})
    (outcome,) = judge(frame, [_rule(HEAD_SHARE, column="n", head=0.02, max_value=0.3)])
    assert outcome.observed == pytest.approx(60 / 158, abs=1e-4)
    assert not outcome.passed
    assert [row["id"] for row in outcome.rows] == ["l0", "l1"]
