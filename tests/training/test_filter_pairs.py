"""A filter pair is no negative in Module I: neither in the batch nor over all labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from mufin_model.catalog.catalog import Catalog
from mufin_model.network.bags import Bags
from mufin_model.network.embedder import Embedder, FrozenVectors
from mufin_model.training import pretrain
from mufin_model.training.pretrain import PretrainStep


@pytest.fixture
def catalog(built) -> Catalog:
    return Catalog.load(built.noun("raw_descriptors"))


@pytest.fixture
def bags(catalog) -> Bags:
    return Bags(catalog, ["image", "text"])


@pytest.fixture
def step(built, bags, catalog) -> PretrainStep:
    """On random vectors, without dropout."""
    torch.manual_seed(0)
    vectors = torch.randn(max(len(catalog.images), bags.n_items + bags.n_labels), 8)
    chosen = built.settings.pretrain.model_copy(update={"head": "logistic", "neighbour_weight": 0.0})
    embedder = Embedder(FrozenVectors(vectors), FrozenVectors(vectors.clone()), chosen)
    return PretrainStep(embedder, chosen, len(catalog.rows("train")), catalog.n_seen).eval()


@pytest.mark.parametrize("loss", ["softmax", "triplet"])
def test_in_the_batch(step, bags, catalog, loss) -> None:
    step.settings = step.settings.model_copy(update={"loss": loss, "head": "none"})
    rows = torch.arange(3)
    items = bags.take(catalog.rows("train")[:3])

    def of(labels: list[int], standing: list[list[int]]) -> torch.Tensor:
        return step(rows, items, bags.take(bags.labels(np.array(labels))), torch.tensor(standing, dtype=torch.int8))

    alone = of([0, 1], [[1, 0], [0, 1], [0, 0]])
    # A third label that all three items have filter pairs with is as none.
    torch.testing.assert_close(of([0, 1, 2], [[1, 0, -1], [0, 1, -1], [0, 0, -1]]), alone)
    assert (of([0, 1, 2], [[1, 0, 0], [0, 1, 0], [0, 0, 0]]) - alone).abs() > 1e-3


def test_over_all_labels(step, bags, catalog) -> None:
    rows, n = torch.arange(2), catalog.n_seen
    bag = bags.take(catalog.rows("train")[:2]), bags.take(bags.labels(np.arange(2)))
    standing, truth = torch.tensor([[1, 0], [0, 1]], dtype=torch.int8), torch.tensor([0, n + 1])

    def pushed(removed: torch.Tensor | None) -> torch.Tensor:
        """The head's vectors that the loss moves."""
        step.zero_grad()
        step(rows, *bag, standing, truth, removed).backward()
        return step.head.vectors.grad.norm(dim=1) > 0

    assert pushed(None).all()
    # Label 3 is a filter pair of both items, label 4 of one.
    told = pushed(torch.tensor([3, n + 3, 4]))
    assert not told[3]
    assert told.sum() == n - 1


def test_batches_tell_them(built, step, bags, catalog, tmp_path, monkeypatch) -> None:
    links = catalog.links("train").toarray() > 0
    filters = np.random.default_rng(0).random(links.shape) < 0.1
    monkeypatch.setattr(catalog, "filters", lambda split: csr_matrix(filters.astype(np.float32)))
    assert (filters & links).any()
    filters = filters & ~links  # what is a link as well stays relevant
    encoded = built.noun("encoder_embeddings")
    settings = built.settings.model_copy(update={"pretrain": step.settings})
    drawn = pretrain.plan(settings, catalog, bags, step, tmp_path, encoded).batches(0)
    told = 0
    for rows, _, labels, standing, truth, removed in drawn:
        mine, here = filters[rows], labels.texts.numpy() - bags.n_items
        np.testing.assert_array_equal(standing < 0, mine[:, here])
        np.testing.assert_array_equal(standing > 0, links[rows][:, here])
        np.testing.assert_array_equal(np.sort(removed), np.flatnonzero(mine))
        np.testing.assert_array_equal(np.sort(truth), np.flatnonzero(links[rows]))
        told += int((standing < 0).sum())
    assert told
