"""What the kernel compares: the same of catalogue and queries, saved and read back, where a part is lacking."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from mufin_model.arrays import read_array
from mufin_model.catalog.catalog import Catalog
from mufin_model.encoders.handmade import ink
from mufin_model.errors import ArtefactError
from mufin_model.ridge.classifiers import Fit
from mufin_model.ridge.features import DENSE, SPARSE, Features, Featurizer
from mufin_model.ridge.kernel import FORMS, Pair
from tests.conftest import Small

from .conftest import BOTH, CPU, World


def assert_same(a: Features, b: Features) -> None:
    for name in SPARSE:
        np.testing.assert_allclose(getattr(a, name).toarray(), getattr(b, name).toarray(), atol=1e-6, err_msg=name)
    for name in DENSE:
        mine, theirs = (getattr(one, name).float().numpy() for one in (a, b))
        np.testing.assert_allclose(mine, theirs, atol=1e-5, err_msg=name)


def test_queries_have_the_features_of_the_catalogues_items(world: World) -> None:
    catalog, test = world.catalog, world.catalog.rows("test")
    offsets, rows = catalog.item_images()
    mine = np.concatenate([rows[offsets[row] : offsets[row + 1]] for row in test])
    texts = catalog.items["text"].gather(test).to_list()
    image, text = (torch.from_numpy(read_array(world.encoded / f"{name}.npy")) for name in ("image", "text"))
    found = world.featurizer.of_queries(
        texts, text[test], catalog.images.pixels(mine), image[mine], np.diff(offsets)[test].tolist()
    )
    assert_same(found, world.items.take(test))


class Changed:
    """Pictures of a catalogue, of which some rows are black."""

    def __init__(self, images: Any, black: np.ndarray) -> None:
        self.images, self.black = images, black

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, rows: np.ndarray) -> np.ndarray:
        return np.where(np.isin(rows, self.black)[:, None, None, None], 0, self.images.pixels(rows)).astype(np.uint8)


def test_what_is_usual_is_so_of_labelled_items_and_seen_labels_alone(world: World, tmp_path: Path) -> None:
    """Pictures of test items and zero-shot labels change nothing of it; those of labelled items do."""
    catalog = world.catalog
    (of_items, items), (of_labels, labels) = catalog.item_images(), catalog.label_images()
    known = [items[of_items[row] : of_items[row + 1]] for row in world.rows]
    known += [labels[of_labels[row] : of_labels[row + 1]] for row in range(catalog.n_seen)]
    rows = np.unique(np.concatenate(known))
    others = np.setdiff1d(np.arange(len(catalog.images)), rows)
    assert len(rows)
    assert len(others)
    for changed in (others, rows[:20]):
        encoded = shutil.copytree(world.encoded, tmp_path / str(len(changed)))
        image = read_array(encoded / "image.npy").copy()
        image[changed] = 1 / np.sqrt(image.shape[1])
        np.save(encoded / "image.npy", image)
        other = Catalog.load(catalog.folder)
        other.images = Changed(catalog.images, changed)
        found = Featurizer.fit(other, encoded, world.rows, BOTH, CPU).usual
        assert set(found) == set(world.featurizer.usual) == {"images", "ink"}
        for name, usual in world.featurizer.usual.items():
            assert torch.equal(found[name], usual) == (changed is others), name


def test_saved_and_read_back(world: World, tmp_path: Path) -> None:
    world.items.save(tmp_path / "items")
    assert_same(Features.load(tmp_path / "items", CPU), world.items)
    world.featurizer.save(tmp_path / "featurizer")
    again = Featurizer.load(tmp_path / "featurizer", CPU)
    assert_same(again.of_catalog(world.catalog, world.encoded)[0], world.items)
    np.save(tmp_path / "items" / "ink.npy", np.zeros((3, 2), np.float32))
    with pytest.raises(ArtefactError, match="different lengths"):
        Features.load(tmp_path / "items", CPU)


def test_rows_are_of_unit_length_or_zero(world: World) -> None:
    for features in (world.items, world.labels):
        for name in ("sentences", "images", "pictures"):
            norms = getattr(features, name).norm(dim=1)
            assert ((norms - 1).abs() < 1e-4).logical_or(norms == 0).all(), name
    assert world.items.pictured.any()


def test_embeddings_of_random_or_tuned_weights_are_left_out(world: World, built: Small) -> None:
    random = built.noun("encoder_embeddings")
    for encoded, frozen in ((random, BOTH), (world.encoded, ())):
        made = Featurizer.fit(world.catalog, encoded, world.rows, frozen, CPU).of_catalog(world.catalog, encoded)[0]
        assert not made.sentences.any()
        assert not made.images.any()
    assert world.items.sentences.any()
    assert world.items.images.any()


def test_texts_without_words(world: World) -> None:
    silent = Catalog.load(world.catalog.folder)
    silent.items = silent.items.with_columns(text=pl.lit(""))
    silent.labels = silent.labels.with_columns(text=pl.lit(" "))
    featurizer = Featurizer.fit(silent, world.encoded, world.rows, BOTH, CPU)
    assert featurizer.words is None
    known = featurizer.of_catalog(silent, world.encoded)[0].take(world.rows)
    assert torch.isfinite(Fit(known, world.links, FORMS[0], BOTH).left_out()).all()


def test_a_query_without_pictures_is_compared_by_its_text(world: World) -> None:
    text = torch.from_numpy(read_array(world.encoded / "text.npy"))[:1]
    told = [world.catalog.items["text"][0]]
    alone = world.featurizer.of_queries(told, text, np.zeros((0, 3, 16, 16), np.uint8), None, [0])
    pairs = [Pair(asked, world.known, FORMS[2], 1.0) for asked in (alone, world.items.take(slice(0, 1)))]
    torch.testing.assert_close(pairs[0].whole(BOTH), pairs[1].whole(("text",)), atol=1e-4, rtol=1e-3)


def test_ink_tells_thick_strokes_from_thin() -> None:
    picture = torch.full((3, 3, 64, 64), 255, dtype=torch.uint8)
    picture[0, :, 30:32, 10:50] = 0
    picture[1, :, 22:38, 10:50] = 0
    got = ink(picture)
    assert torch.isfinite(got).all()
    assert (got[0] - got[1]).abs().max() > 0.5
    assert got[2, 0] == 0  # a blank picture has no ink at any level above none
    assert torch.equal(ink(picture[1:2]), got[1:2])


@pytest.mark.parametrize("side", [1, 5, 40])
def test_ink_of_any_size(side: int) -> None:
    got = ink(torch.randint(0, 255, (2, 3, side, side), dtype=torch.uint8))
    assert got.shape == ink(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).expand(2, -1).shape
    assert torch.isfinite(got).all()
