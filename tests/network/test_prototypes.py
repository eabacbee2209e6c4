"""Label prototypes: who shares what, and what an unknown centroid does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from mufin_model.network.prototypes import Prototypes

CLUSTER = torch.tensor([0, 0, 1, 2])
FIRST = 10


@pytest.fixture
def made() -> Prototypes:
    torch.manual_seed(0)
    return Prototypes(CLUSTER, FIRST, dimension=8, heads=2, dropout=0.0)


def units(count: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(1)), dim=1)


def test_gradient_reaches_the_shared_vector_of_the_cluster_alone(made: Prototypes) -> None:
    made(units(2), torch.tensor([FIRST, FIRST + 3])).square()[:, 0].sum().backward()
    assert made.shared.weight.grad.any(dim=1).tolist() == [True, False, True]


def test_a_shared_vector_moves_its_cluster_alone(made: Prototypes) -> None:
    own, entities = units(4), FIRST + torch.arange(4)
    before = made(own, entities)
    with torch.no_grad():
        made.shared.weight[0] = units(3)[2]
    moved = (made(own, entities) - before).abs().amax(dim=1) > 1e-3
    assert moved.tolist() == [True, True, False, False]


def test_centroids_are_the_mean_direction_of_the_items(made: Prototypes) -> None:
    links = sparse.csr_matrix(np.array([[1, 0, 0, 1], [1, 1, 0, 0]], np.float32))
    items = units(2)
    made.refresh(links, items)
    both = torch.nn.functional.normalize(items.sum(0), dim=0)
    torch.testing.assert_close(made.centroid, torch.stack([both, items[1], torch.zeros(8), items[0]]))


def test_an_unknown_centroid_is_masked_not_a_zero_token(made: Prototypes) -> None:
    own, entity = units(1), torch.tensor([FIRST + 2])
    tokens = torch.stack([own, made.shared.weight[1:2]], dim=1)
    expected = torch.nn.functional.normalize(made.layer(tokens).mean(1), dim=1)
    torch.testing.assert_close(made(own, entity), expected, atol=1e-5, rtol=1e-4)
    made.centroid[2] = units(3)[1]
    assert (made(own, entity) - expected).abs().max() > 1e-2


def test_unit_vectors_with_and_without_items(made: Prototypes) -> None:
    made.centroid[0] = units(1)[0]
    torch.testing.assert_close(made(units(4), FIRST + torch.arange(4)).norm(dim=1), torch.ones(4))
