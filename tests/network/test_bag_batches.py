"""Batches of bags hold each entity's own descriptors, whatever is asked for in whatever order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mufin_model.catalog.catalog import Catalog
from mufin_model.network.bags import Bags
from mufin_model.network.embedder import assemble, attend


@pytest.fixture(scope="module")
def catalog(built) -> Catalog:
    return Catalog.load(built.noun("raw_descriptors"))


def own_images(catalog: Catalog, entity: int) -> list[int]:
    row = entity - len(catalog.items)
    return (catalog.items["images"][entity] if row < 0 else catalog.labels["images"][row]).to_list()


def test_shuffled_rows_with_repeats_keep_their_images(catalog: Catalog) -> None:
    bags = Bags(catalog, ["image", "text"])
    rng = np.random.default_rng(0)
    entities = rng.integers(0, bags.n_items + bags.n_labels, 300)
    batch = bags.take(entities)
    assert len(np.unique(batch.images)) == len(batch.images)
    for place, entity in enumerate(entities):
        found = batch.images[batch.image_index[place]][batch.image_mask[place]].tolist()
        assert found == own_images(catalog, int(entity))
    texts = catalog.items["text"].to_list() + catalog.labels["text"].to_list()
    assert batch.text_mask.tolist() == [bool(texts[e]) for e in entities]
    assert batch.texts.tolist() == entities.tolist()


def test_a_limit_draws_of_the_bag(catalog: Catalog) -> None:
    bags = Bags(catalog, ["image", "text"])
    entities = np.arange(bags.n_items)[::-1]
    seen = [set() for _ in entities]
    for seed in range(30):
        batch = bags.take(entities, limit=1, rng=np.random.default_rng(seed))
        assert batch.image_index.shape[1] == 1
        for place, entity in enumerate(entities):
            found = batch.images[batch.image_index[place]][batch.image_mask[place]].tolist()
            own = own_images(catalog, int(entity))
            assert len(found) == min(1, len(own))
            assert set(found) <= set(own)
            seen[place] |= set(found)
    several = [s for s, e in zip(seen, entities, strict=True) if len(own_images(catalog, int(e))) == 2]
    assert sum(len(s) == 2 for s in several) > 0.9 * len(several)


@pytest.mark.parametrize("drop", [0.15, 0.5, 0.8, 1.0])
def test_dropping_a_modality_never_empties_a_bag(catalog: Catalog, drop: float) -> None:
    bags = Bags(catalog, ["image", "text"])
    entities = np.tile(np.arange(bags.n_items), 20)
    before = bags.take(entities)
    after = bags.take(entities, drop=drop, rng=np.random.default_rng(1))
    full = before.image_mask.any(1) & before.text_mask
    assert ((after.image_mask.any(1) | after.text_mask) == (before.image_mask.any(1) | before.text_mask)).all()
    lost_images = (full & ~after.image_mask.any(1)).sum() / full.sum()
    lost_text = (full & ~after.text_mask).sum() / full.sum()
    assert float(lost_images) == pytest.approx(min(drop, 0.5), abs=0.04)
    assert float(lost_text) == pytest.approx(min(drop, 0.5), abs=0.04)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_one_modality_alone(catalog: Catalog, modality: str) -> None:
    bags = Bags(catalog, [modality])
    batch = bags.take(np.arange(bags.n_items))
    assert bool(batch.image_mask.any()) == (modality == "image")
    assert bool(batch.text_mask.any()) == (modality == "text")


def test_a_batch_without_images(catalog: Catalog) -> None:
    bags = Bags(catalog, ["text"])
    batch = bags.take(np.arange(5))
    vectors = torch.randn(5, 8)
    made, mask = assemble(batch, vectors[:0], vectors)
    _, unit = attend(None, made, mask)
    expected = torch.nn.functional.normalize(vectors, dim=1) * batch.text_mask[:, None]
    torch.testing.assert_close(unit, expected)


def test_no_entities(catalog: Catalog) -> None:
    batch = Bags(catalog, ["image", "text"]).take(np.arange(0))
    assert len(batch.texts) == len(batch.image_mask) == 0
