"""A_S and A_C against loops that follow the formula, and at their edges."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mufin_model.errors import SettingError
from mufin_model.network.attention import Attention, CrossAttention, SelfAttention, gather, pool

D = 6


def scrambled(kind: type[Attention], heads: int, seed: int = 0) -> Attention:
    """A block with random weights, in evaluation mode."""
    torch.manual_seed(seed)
    block = kind(D, heads, dropout=0.3)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    block.train()
    for _ in range(5):  # the power iterations of the spectral norm
        block(torch.randn(2, 3, D), *([torch.randn(2, 3, D)] * (kind is not SelfAttention)), torch.ones(2, 3).bool())
    return block.eval()


def naive(block: Attention, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
    """One head at a time, one query at a time, real keys alone."""
    out = torch.zeros_like(x)
    width = D // block.heads
    for b in range(len(x)):
        real = context[b][mask[b]]
        q, k, v = block.query(x[b]), block.key(real), block.value(real)
        for m in range(x.shape[1]):
            joined = []
            for h in range(block.heads):
                part = slice(h * width, (h + 1) * width)
                weights = torch.tensor([math.exp(float(q[m, part] @ one[part]) / math.sqrt(width)) for one in k])
                weights = weights / weights.sum() if len(weights) else weights
                joined.append(sum((w * one[part] for w, one in zip(weights, v, strict=True)), torch.zeros(width)))
            out[b, m] = block.norm(block.out(torch.cat(joined)) + x[b, m])
    return out


@pytest.mark.parametrize("heads", [1, 3])
@torch.no_grad()
def test_self_attention_is_the_formula(heads: int) -> None:
    block = scrambled(SelfAttention, heads)
    x = torch.randn(3, 4, D)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1]]).bool()
    found, expected = block(x, mask), naive(block, x, x, mask)
    torch.testing.assert_close(found[mask], expected[mask], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("heads", [1, 2, 3])
@torch.no_grad()
def test_attention_is_that_of_torch(heads: int) -> None:
    block = scrambled(SelfAttention, heads)
    x, mask = torch.randn(2, 5, D), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 1, 0]]).bool()
    maps = (block.query, block.key, block.value)
    mixed, _ = torch.nn.functional.multi_head_attention_forward(
        *[x.transpose(0, 1)] * 3,
        embed_dim_to_check=D,
        num_heads=heads,
        in_proj_weight=torch.cat([m.weight for m in maps]),
        in_proj_bias=torch.cat([m.bias for m in maps]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=block.out.weight,
        out_proj_bias=block.out.bias,
        training=False,
        key_padding_mask=~mask,
    )
    torch.testing.assert_close(block(x, mask), block.norm(mixed.transpose(0, 1) + x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("heads", [1, 3])
@torch.no_grad()
def test_padding_is_ignored_and_order_means_nothing(heads: int) -> None:
    block = scrambled(SelfAttention, heads)
    x = torch.randn(2, 3, D)
    mask = torch.ones(2, 3).bool()
    alone = pool(block(x, mask), mask)
    padded = torch.cat([x, torch.full((2, 2, D), 1e6)], 1)
    wider = torch.cat([mask, torch.zeros(2, 2).bool()], 1)
    torch.testing.assert_close(pool(block(padded, wider), wider), alone, atol=1e-6, rtol=1e-5)
    order = torch.tensor([4, 1, 3, 0, 2])
    shuffled = pool(block(padded[:, order], wider[:, order]), wider[:, order])
    torch.testing.assert_close(shuffled, alone, atol=1e-6, rtol=1e-5)


def test_an_empty_bag_is_zero_and_so_is_its_gradient() -> None:
    block = scrambled(SelfAttention, 2).train()
    x = torch.randn(2, 3, D, requires_grad=True)
    mask = torch.tensor([[0, 0, 0], [1, 1, 0]]).bool()
    unit = pool(block(x, mask), mask)
    assert torch.equal(unit[0], torch.zeros(D))
    assert unit[1].norm().item() == pytest.approx(1, abs=1e-5)
    (unit @ torch.randn(D)).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in block.parameters())


@torch.no_grad()
def test_it_starts_as_the_identity() -> None:
    block = SelfAttention(D, 3, 0.0).eval()
    x = torch.randn(1, 1, D)
    # A bag of one attends to itself alone: LN(x + x).
    torch.testing.assert_close(block(x, torch.ones(1, 1).bool()), block.norm(2 * x), atol=1e-5, rtol=1e-4)
    for each in (block.query, block.key, block.value, block.out):
        torch.testing.assert_close(each.weight, torch.eye(D), atol=1e-5, rtol=0)
        assert not each.bias.any()


def test_maps_are_spectral_normalised() -> None:
    block = scrambled(SelfAttention, 1)
    with torch.no_grad():
        block.query.parametrizations.weight.original.mul_(7)
    block.train()
    for _ in range(50):
        norm = torch.linalg.matrix_norm(block.query.weight, 2)
    assert norm.item() == pytest.approx(1, abs=1e-3)


def test_heads_must_divide_the_dimension() -> None:
    with pytest.raises(SettingError, match="no multiple"):
        SelfAttention(D, 4, 0.0)


@pytest.mark.parametrize("heads", [1, 3])
@torch.no_grad()
def test_folded_cross_attention_is_the_plain_one(heads: int) -> None:
    block = scrambled(CrossAttention, heads)
    items, labels = torch.randn(4, 3, D), torch.randn(5, 2, D)
    mask = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1], [0, 0]]).bool()  # the last label has an empty bag
    at = torch.tensor([[0, 1, 2], [4, 4, 0], [3, 2, 1], [1, 1, 4]])
    adapted = block.adapt(items, block.fold(labels, mask), at)
    assert adapted.shape == (4, 3, 3, D)
    for b in range(4):
        for s in range(3):
            one = at[b, s]
            plain = block(items[b : b + 1], labels[one : one + 1], mask[one : one + 1])[0]
            torch.testing.assert_close(adapted[b, s], plain, atol=1e-5, rtol=1e-4)


def test_folded_cross_attention_has_the_same_gradient() -> None:
    items, labels, mask = torch.randn(2, 3, D), torch.randn(2, 2, D), torch.ones(2, 2).bool()
    aim = torch.randn(2, 3, D)
    gradients = []
    for folded in (True, False):
        block = scrambled(CrossAttention, 2)
        if folded:
            found = block.adapt(items, block.fold(labels, mask), torch.tensor([[0], [1]]))[:, 0]
        else:
            found = block(items, labels, mask)
        (found * aim).sum().backward()
        gradients.append({name: p.grad for name, p in block.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-4, rtol=1e-3)


def test_gathered_rows_sum_their_gradient_alike_each_time() -> None:
    """Indexing does not, with several threads: then no two trainings would be the same."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    table, at = torch.randn(50, 2, 3, 16), torch.randint(0, 50, (64, 40))
    aim = torch.randn(64, 40, 2, 3, 16)
    assert torch.equal(gather(table, at), table[at])
    gradients = []
    for _ in range(5):
        given = table.clone().requires_grad_()
        (gather(given, at) * aim).sum().backward()
        gradients.append(given.grad)
    torch.set_num_threads(threads)
    assert all(torch.equal(gradients[0], gradient) for gradient in gradients)
