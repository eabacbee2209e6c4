"""Classifiers, the ranker's scores and their padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from mufin_model.catalog.catalog import Catalog
from mufin_model.network import store
from mufin_model.network.bags import Bags
from mufin_model.network.classifiers import Classifiers
from mufin_model.network.ranker import Residual
from mufin_model.network.score import label_side, score_shortlists


@pytest.fixture(scope="module")
def trained(built):
    catalog = Catalog.load(built.noun("raw_descriptors"))
    pretrained = store.load_pretrained(built.noun("pretrained_model"), torch.device("cpu"))
    folder = built.noun("finetuned_classifiers")
    ranker = store.load_finetuned(folder, pretrained, catalog.n_seen, torch.device("cpu")).ranker
    return catalog, Bags(catalog, pretrained.modalities), pretrained, ranker


@torch.no_grad()
def test_classifiers_start_half_free_half_embedding() -> None:
    free, embeddings = torch.randn(7, 4) * 3, normalize(torch.randn(3, 4), dim=1)
    made = Classifiers(free)
    labels = torch.tensor([5, 0, 5])
    expected = normalize(0.5 * normalize(free[labels], dim=1) + 0.5 * embeddings, dim=1)
    torch.testing.assert_close(made(labels, embeddings), expected)
    made.mixture.weight[0] = torch.tensor([50.0, 0.0])  # label 0 trusts its free vector alone
    torch.testing.assert_close(made(labels, embeddings)[1], normalize(free[0], dim=0))


def test_without_free_vectors_a_classifier_is_the_embedding() -> None:
    embeddings = torch.randn(3, 4)
    made = Classifiers(torch.zeros(7, 4), free=False)
    assert not list(made.parameters())
    assert made(torch.arange(3), embeddings) is embeddings


def test_refinement_starts_as_the_identity_and_can_learn() -> None:
    refine, x = Residual(4, 0.0), torch.randn(5, 4)
    assert torch.equal(refine(x), x)
    refine.linear.weight.data += 0.1
    assert not torch.equal(refine(x), x)


def test_padded_places_score_minus_infinity(trained) -> None:
    catalog, bags, p, ranker = trained
    side = label_side(ranker, bags, p.image, p.text, catalog.n_seen)
    items = catalog.rows("test")[:6]
    rng = np.random.default_rng(0)
    shortlist = np.stack([rng.choice(catalog.n_seen, 5, replace=False) for _ in items])
    full = score_shortlists(ranker, bags, p.image, p.text, side, items, shortlist)
    padded = shortlist.copy()
    padded[::2, 3:] = -1
    found = score_shortlists(ranker, bags, p.image, p.text, side, items, padded)
    assert np.isneginf(found[padded < 0]).all()
    np.testing.assert_allclose(found[padded >= 0], full[padded >= 0], atol=1e-5)
    assert np.abs(full).max() <= 1 + 1e-5


def test_batches_of_labels_and_items_change_nothing(trained) -> None:
    catalog, bags, p, ranker = trained
    whole = label_side(ranker, bags, p.image, p.text, catalog.n_seen)
    cut = label_side(ranker, bags, p.image, p.text, catalog.n_seen, batch=3)
    torch.testing.assert_close(cut[1], whole[1], atol=1e-5, rtol=1e-4)
    items = catalog.rows("test")
    shortlist = np.tile(np.arange(catalog.n_seen), (len(items), 1))
    one = score_shortlists(ranker, bags, p.image, p.text, whole, items, shortlist)
    other = score_shortlists(ranker, bags, p.image, p.text, cut, items, shortlist, batch=5)
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_saved_classifiers_are_those_of_the_saved_ranker(trained, built) -> None:
    catalog, bags, p, ranker = trained
    saved = np.load(built.noun("finetuned_classifiers") / "classifiers.npy")
    np.testing.assert_allclose(label_side(ranker, bags, p.image, p.text, catalog.n_seen)[1].numpy(), saved, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(saved, axis=1), 1, atol=1e-5)
