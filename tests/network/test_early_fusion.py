"""Early fusion: E_T reads images before a text, and nothing masked is ever read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mufin_model.catalog.catalog import Catalog
from mufin_model.encoders.backbones import Backbones, catalog_texts
from mufin_model.errors import SettingError
from mufin_model.network import store
from mufin_model.network.bags import Bags
from mufin_model.network.embedder import Embedder, FrozenVectors, TunedTexts, unit_vectors
from mufin_model.training.descriptors import re_encode

BOTH = ["image", "text"]


@pytest.fixture
def catalog(built) -> Catalog:
    return Catalog.load(built.noun("raw_descriptors"))


def make(built, catalog: Catalog) -> Embedder:
    """A new one; torch.manual_seed makes it the same each time."""
    torch.manual_seed(0)
    backbones = Backbones.load(built.noun("encoder_embeddings") / "backbones")
    images = FrozenVectors(torch.from_numpy(np.load(built.noun("encoder_embeddings") / "image.npy")))
    chosen = built.settings.pretrain.model_copy(update={"early_fusion": True})
    return Embedder(images, TunedTexts(backbones.text, catalog_texts(catalog)), chosen).eval()


@pytest.fixture
def embedder(built, catalog: Catalog) -> Embedder:
    return make(built, catalog)


def sizes(bags: Bags) -> np.ndarray:
    return np.diff(bags.offsets)


@torch.inference_mode()
def test_an_image_changes_the_text_vector_of_its_bags_alone(embedder: Embedder, catalog: Catalog) -> None:
    bags = Bags(catalog, BOTH)
    entities = np.arange(40)
    changed = int(bags.rows[bags.offsets[np.flatnonzero(sizes(bags)[:40])[0]]])
    holds = np.array([changed in bags.rows[bags.offsets[e] : bags.offsets[e + 1]][:3] for e in entities])
    batch = bags.take(entities)
    before = embedder.descriptors(batch)[1].clone()
    embedder.images.table[changed] += 1.0
    moved = ((embedder.descriptors(batch)[1] - before).abs().amax(1) > 1e-4).numpy()
    assert holds.any()
    assert (moved == (holds & batch.text_mask.numpy())).all()


@torch.inference_mode()
def test_padding_of_the_batch_changes_nothing(embedder: Embedder, catalog: Catalog) -> None:
    bags = Bags(catalog, BOTH)
    # Texts and bags of all sizes, with empty ones.
    entities = np.arange(bags.n_items + bags.n_labels)
    whole = embedder(bags.take(entities))
    assert torch.isfinite(whole).all()
    alone = torch.cat([embedder(bags.take(entities[[e]])) for e in entities[:60]])
    torch.testing.assert_close(whole[:60], alone, atol=1e-4, rtol=1e-3)


@torch.inference_mode()
def test_without_images_it_is_the_text_alone(embedder: Embedder, catalog: Catalog) -> None:
    entities = np.arange(30)
    plain = embedder.text(torch.from_numpy(entities))
    torch.testing.assert_close(embedder.descriptors(Bags(catalog, ["text"]).take(entities))[1], plain)
    batch = Bags(catalog, BOTH).take(entities)
    batch.image_mask[::2] = False
    text = embedder.descriptors(batch)[1]
    torch.testing.assert_close(text[::2], plain[::2], atol=1e-4, rtol=1e-3)
    shown = batch.image_mask.any(1) & batch.text_mask
    assert shown.any()
    assert ((text - plain).abs().amax(1) > 1e-4)[shown].all()


@torch.inference_mode()
def test_an_entity_with_neither_is_a_zero_vector(embedder: Embedder, catalog: Catalog) -> None:
    batch = Bags(catalog, BOTH).take(np.arange(6))
    batch.image_mask[2], batch.text_mask[2] = False, False
    vectors = embedder(batch)
    assert not vectors[2].any()
    torch.testing.assert_close(vectors.norm(dim=1)[[0, 1, 3, 4, 5]], torch.ones(5))


@torch.inference_mode()
def test_cached_vectors_are_the_embedders(embedder: Embedder, catalog: Catalog) -> None:
    bags = Bags(catalog, BOTH, fused=True)
    count = bags.n_items + bags.n_labels
    image, text = re_encode(embedder, (len(catalog.images), count), bags=bags)
    assert len(text) == 2 * count
    entities = np.random.default_rng(0).permutation(count)
    for modalities in (BOTH, ["text"], ["image"]):
        cached = unit_vectors(embedder.attention, Bags(catalog, modalities, fused=True), image, text, entities)
        computed = torch.cat([embedder(Bags(catalog, modalities).take(part)) for part in np.array_split(entities, 5)])
        torch.testing.assert_close(cached, computed, atol=1e-4, rtol=1e-3)


@torch.inference_mode()
def test_one_modality_alone_never_sees_the_other(built, embedder: Embedder, catalog: Catalog) -> None:
    """What `predict` does for text_only and image_only: bags of cached vectors, one modality masked."""
    other = make(built, catalog)
    count = len(catalog.items) + catalog.n_labels
    items = np.arange(len(catalog.items))
    everything = Bags(catalog, BOTH, fused=True)
    before = re_encode(embedder, (len(catalog.images), count), bags=everything)

    def seen(modalities: list[str], vectors: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        pretrained = store.Pretrained(
            BOTH, True, 32, 2, 0.0, embedder.attention, *vectors, {"image": False, "text": False}
        )
        return unit_vectors(embedder.attention, pretrained.bags(catalog, modalities), *vectors, items)

    other.images.table.add_(1.0)
    after = re_encode(other, (len(catalog.images), count), bags=everything)
    torch.testing.assert_close(seen(["text"], after), seen(["text"], before))
    assert (seen(BOTH, after) - seen(BOTH, before)).abs().max() > 1e-2
    other = make(built, catalog)
    other.texts.ids = other.texts.ids.flip(0)
    other.texts.mask = other.texts.mask.flip(0)
    after = re_encode(other, (len(catalog.images), count), bags=everything)
    torch.testing.assert_close(seen(["image"], after), seen(["image"], before))


def test_gradients_reach_the_map_of_the_images(embedder: Embedder, catalog: Catalog) -> None:
    embedder.train()(Bags(catalog, BOTH).take(np.arange(20)))[:, 0].sum().backward()
    assert embedder.tokens is not None
    assert embedder.tokens.weight.grad is not None
    assert embedder.tokens.weight.grad.any()
    assert all(torch.isfinite(p.grad).all() for p in embedder.parameters() if p.grad is not None)


def test_a_frozen_text_encoder_is_refused(built, catalog: Catalog) -> None:
    frozen = FrozenVectors(torch.zeros(3, 4))
    chosen = built.settings.pretrain.model_copy(update={"early_fusion": True})
    with pytest.raises(SettingError, match="frozen"):
        Embedder(frozen, frozen, chosen)


def test_too_few_places_are_refused(built, embedder: Embedder) -> None:
    chosen = built.settings.pretrain.model_copy(update={"early_fusion": True, "images_per_bag": 60})
    with pytest.raises(SettingError, match="60 images"):
        Embedder(embedder.images, embedder.texts, chosen)
