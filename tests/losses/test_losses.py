"""Each loss against a loop that follows its formula, and its gradients at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from mufin_model.config import Pretrain
from mufin_model.losses import LOSSES, softmax_loss, triplet_loss
from mufin_model.losses.head import head_loss
from mufin_model.losses.logistic import logistic_loss
from mufin_model.losses.neighbour import neighbour_loss
from mufin_model.losses.softmax import decoupled_softmax


@pytest.fixture
def chosen(settings_of) -> Pretrain:
    return settings_of(
        "pretrain.negatives=3", "pretrain.margin=0.3", "pretrain.positive_threshold=0.9", "pretrain.temperature=0.1"
    ).pretrain


def batch(seed: int, items: int = 6, labels: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    positive = torch.rand(items, labels, generator=generator) < 0.4
    positive[torch.arange(items), torch.arange(items) % labels] = True
    return torch.rand(items, labels, generator=generator) * 2 - 1, positive


def naive_triplet(similarity: Tensor, positive: Tensor, chosen: Pretrain) -> float:
    def one_way(s: Tensor, p: Tensor) -> float:
        pairs = []
        for anchor in range(len(s)):
            negatives = sorted((float(v) for v in s[anchor][~p[anchor]]), reverse=True)[: chosen.negatives]
            weights = [math.exp(v / 0.1) for v in negatives]
            for own in s[anchor][p[anchor]]:
                total = 0.0
                for weight, negative in zip(weights, negatives, strict=True):
                    gap = negative - min(float(own), chosen.positive_threshold)
                    margin = min(max(abs(gap), 0.1), chosen.margin) if chosen.dynamic_margin else chosen.margin
                    total += weight / sum(weights) * max(0.0, gap + margin)
                pairs.append(total)
        return sum(pairs) / len(pairs)

    return 0.5 * (one_way(similarity, positive) + one_way(similarity.T, positive.T))


def naive_softmax(similarity: Tensor, positive: Tensor, chosen: Pretrain) -> float:
    def one_way(s: Tensor, p: Tensor) -> float:
        rows = []
        for r in range(len(s)):
            negatives = sum(math.exp(float(v) / chosen.temperature) for v in s[r][~p[r]])
            own = [math.exp(float(v) / chosen.temperature) for v in s[r][p[r]]]
            if own:
                rows.append(sum(-math.log(v / (v + negatives)) for v in own) / len(own))
        return sum(rows) / len(rows)

    return 0.5 * (one_way(similarity, positive) + one_way(similarity.T, positive.T))


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_triplet_is_its_formula(settings_of, seed: int, dynamic: bool) -> None:
    chosen = settings_of("pretrain.negatives=3", f"pretrain.dynamic_margin={str(dynamic).lower()}").pretrain
    similarity, positive = batch(seed)
    assert triplet_loss(similarity, positive, chosen).item() == pytest.approx(
        naive_triplet(similarity, positive, chosen), rel=1e-5
    )


@pytest.mark.parametrize("seed", range(5))
def test_softmax_is_its_formula(chosen: Pretrain, seed: int) -> None:
    similarity, positive = batch(seed)
    assert softmax_loss(similarity, positive, chosen).item() == pytest.approx(
        naive_softmax(similarity, positive, chosen), rel=1e-4
    )


def test_negatives_are_summed_not_averaged(settings_of) -> None:
    # Equal negatives: the weighted sum is the hinge itself, however many they are.
    positive = torch.zeros(11, 1).bool()
    positive[0] = True
    similarity = torch.where(positive, 0.5, 0.6)
    for negatives in (1, 3, 10, 50):
        chosen = settings_of(f"pretrain.negatives={negatives}", "pretrain.margin=0.3").pretrain
        # The label has ten negatives; the item has none, which costs nothing.
        assert triplet_loss(similarity, positive, chosen).item() == pytest.approx(0.5 * 0.4, rel=1e-5)


def test_easy_positives_are_not_drawn_nearer_but_their_negatives_are_pushed(chosen: Pretrain) -> None:
    positive = torch.tensor([[True], [True], [False]])
    similarity = torch.tensor([[0.95], [0.89], [0.8]], requires_grad=True)
    triplet_loss(similarity, positive, chosen).backward()
    # The label's side: a mean over two pairs of slope one, halved.
    assert similarity.grad.flatten().tolist() == pytest.approx([0.0, -0.25, 0.5])
    far = torch.tensor([[0.95], [0.91], [0.55]], requires_grad=True)
    loss = triplet_loss(far, positive, chosen)
    loss.backward()
    assert loss.item() == 0
    assert not far.grad.any()


def test_all_alike_is_no_rest(chosen: Pretrain) -> None:
    """What training from random weights fell into: every cosine above the threshold, so every positive easy."""
    positive = torch.eye(6).bool()
    alike = torch.full((6, 6), 0.99, requires_grad=True)
    loss = triplet_loss(alike, positive, chosen)
    loss.backward()
    assert loss.item() == pytest.approx(0.99 - 0.9 + 0.3, rel=1e-5)
    assert alike.grad[~positive].sum() > 0
    assert not alike.grad[positive].any()


def test_the_dynamic_margin_has_no_gradient(settings_of) -> None:
    chosen = settings_of("pretrain.dynamic_margin=true").pretrain
    positive = torch.tensor([[True], [False]])
    similarity = torch.tensor([[0.3], [0.5]], requires_grad=True)
    loss = triplet_loss(similarity, positive, chosen)
    loss.backward()
    assert loss.item() == pytest.approx(0.5 * (0.2 + 0.2), rel=1e-5)
    assert similarity.grad.flatten().tolist() == pytest.approx([-0.5, 0.5])


@pytest.mark.parametrize(("negative", "slope"), [(0.45, 0.5), (0.3, 0.0), (0.1, 0.0)])
def test_pairs_apart_rest_under_the_dynamic_margin(settings_of, negative: float, slope: float) -> None:
    """At 0.3, which is 0.2 below its positive, the fixed margin of 0.3 would still push."""
    positive = torch.tensor([[True], [False]])
    for dynamic, expected in ((True, slope), (False, 0.0 if negative < 0.2 else 0.5)):
        chosen = settings_of(f"pretrain.dynamic_margin={str(dynamic).lower()}").pretrain
        similarity = torch.tensor([[0.5], [negative]], requires_grad=True)
        triplet_loss(similarity, positive, chosen).backward()
        assert similarity.grad.flatten().tolist() == pytest.approx([-expected, expected])


@pytest.mark.parametrize("name", LOSSES)
def test_a_positive_is_never_pushed_away(chosen: Pretrain, name: str) -> None:
    for seed in range(5):
        similarity, positive = batch(seed)
        similarity.requires_grad_()
        LOSSES[name](similarity, positive, chosen).backward()
        assert (similarity.grad[positive] <= 0).all()
        assert (similarity.grad[~positive] >= 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_rows_without_negatives_have_finite_gradients(chosen: Pretrain, name: str) -> None:
    similarity, positive = batch(0)
    positive[1], positive[:, 2] = True, True
    for truth in (positive, torch.ones_like(positive)):
        given = similarity.clone().requires_grad_()
        loss = LOSSES[name](given, truth, chosen)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(given.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_positives_costs_nothing(chosen: Pretrain, name: str) -> None:
    similarity = batch(0)[0].requires_grad_()
    loss = LOSSES[name](similarity, torch.zeros(6, 5).bool(), chosen)
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(similarity.grad).all()


def test_padding_does_not_weigh_in_the_logistic_loss() -> None:
    cosine = torch.tensor([[0.9, 0.1, 0.7], [0.3, -0.2, 0.0]], requires_grad=True)
    positive = torch.tensor([[True, False, False], [True, False, False]])
    real = torch.tensor([[True, True, False], [True, True, False]])
    loss = logistic_loss(cosine, positive, real, torch.tensor(10.0), torch.tensor(-5.0))
    terms = [
        math.log1p(math.exp(-(10 * c - 5) if p else 10 * c - 5)) for c, p in [(0.9, 1), (0.1, 0), (0.3, 1), (-0.2, 0)]
    ]
    assert loss.item() == pytest.approx(sum(terms) / 4, rel=1e-5)
    loss.backward()
    assert not cosine.grad[:, 2].any()


@pytest.mark.parametrize("kind", ["softmax", "logistic"])
def test_the_head_is_pulled_to_its_positives(kind: str) -> None:
    logits, truth = batch(2)
    logits.requires_grad_()
    head_loss(logits, truth, kind).backward()  # type: ignore[arg-type]
    assert (logits.grad[truth] <= 0).all()
    assert (logits.grad[~truth] >= 0).all()


def test_neighbours_follow_shared_labels() -> None:
    truth = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 1]]).bool()
    near = torch.nn.functional.normalize(torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]]), dim=1)
    assert neighbour_loss(near, truth, 0.1) < neighbour_loss(near[[0, 2, 1, 3]], truth, 0.1)
    alone = near.clone().requires_grad_()
    loss = neighbour_loss(alone, torch.eye(4).bool(), 0.1)
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(alone.grad).all()


def test_decoupled_softmax_is_the_formula() -> None:
    scores, true, real = torch.randn(5, 7), torch.rand(5, 7) < 0.4, torch.rand(5, 7) < 0.8
    true[0], true[1], real[1] = False, True, True
    true &= real
    expected = [
        np.log1p(np.exp(scores[i][~true[i] & real[i]].numpy().astype(float) - float(scores[i, j])).sum())
        for i in range(5)
        for j in range(7)
        if true[i, j]
    ]
    assert float(decoupled_softmax(scores, true, real)) == pytest.approx(np.mean(expected), rel=1e-5)
    assert float(decoupled_softmax(scores, torch.zeros_like(true), real)) == 0
