"""The first three experiments of the paper's summary: what E_V, E_T, A_S and A_C must do before anything is trained.

One finding differs from the paper's words: A_C mixes the label's own bag into the item's, so an item moves further
for a label unlike it, trained or not. What training changes is the share: moves for irrelevant labels shrink, those
for relevant ones stay (synthetic catalogue, training items: 0.035 and 0.198 before, 0.036 and 0.038 after, 1 - cosine).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mufin_model.catalog.catalog import Catalog
from mufin_model.network import store
from mufin_model.network.attention import CrossAttention, SelfAttention, pool
from mufin_model.network.bags import Bags
from mufin_model.network.score import label_side
from mufin_model.training.descriptors import pretrained_encoder

D = 24


@pytest.fixture(scope="module")
def catalog(built) -> Catalog:
    return Catalog.load(built.noun("raw_descriptors"))


@pytest.fixture(scope="module")
def encoder(built, catalog: Catalog, tmp_path_factory):
    """E_V and E_T themselves, with their projections."""
    folder, encoded = built.noun("pretrained_model"), built.noun("encoder_embeddings")
    return pretrained_encoder(folder, catalog, encoded, tmp_path_factory.mktemp("pixels"))[0].eval()


@torch.inference_mode()
def test_encoders_give_finite_vectors_of_the_dimension(built, catalog: Catalog, encoder) -> None:
    image, text = encoder.image(torch.arange(9)), encoder.text(torch.arange(9))
    assert image.shape == text.shape == (9, built.settings.pretrain.dimension)
    assert torch.isfinite(image).all()
    assert torch.isfinite(text).all()
    for vectors in (image, text):
        assert vectors.std(0).mean() > 1e-3  # unlike descriptors, unlike vectors


@pytest.mark.parametrize("modalities", [["image"], ["text"], ["image", "text"]], ids="+".join)
@torch.inference_mode()
def test_items_and_labels_are_unit_vectors_whatever_is_missing(catalog: Catalog, encoder, modalities) -> None:
    bags = Bags(catalog, modalities)
    batch = bags.take(np.arange(bags.n_items + bags.n_labels))
    batch.image_mask[::3] = False  # some lose their images,
    batch.text_mask[1::3] = False  # some their text,
    batch.image_mask[7], batch.text_mask[7] = False, False  # and one both
    vectors = encoder(batch)
    assert torch.isfinite(vectors).all()
    known = batch.image_mask.any(1) | batch.text_mask
    torch.testing.assert_close(vectors.norm(dim=1), known.float(), atol=1e-5, rtol=0)


def self_attention(heads: int) -> SelfAttention:
    torch.manual_seed(0)
    block = SelfAttention(D, heads, dropout=0.1)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return block.eval()


@pytest.mark.parametrize("heads", [1, 2, 12])
@torch.no_grad()
def test_self_attention_keeps_the_shape_and_changes_the_content(heads: int) -> None:
    # Small enough that the softmax is flat: sharp attention hides one descriptor from another.
    block, x = self_attention(heads), 0.2 * torch.randn(5, 4, D)
    mask = torch.ones(5, 4).bool()
    attended = block(x, mask)
    assert attended.shape == x.shape
    assert (attended - x).norm(dim=-1).min() > 0.1
    # Each descriptor's result depends on each other one of its bag, and on no other bag.
    for place in range(4):
        changed = x.clone()
        changed[2, place] += 0.2 * torch.randn(D)
        moved = (block(changed, mask) - attended).norm(dim=-1)
        assert moved[2].min() > 1e-6
        assert not moved[[0, 1, 3, 4]].any()


@pytest.mark.parametrize("heads", [1, 2, 12])
@torch.no_grad()
def test_self_attention_ignores_padding_exactly(heads: int) -> None:
    block, x = self_attention(heads), torch.randn(3, 4, D)
    mask = torch.tensor([[1, 1, 0, 0], [1, 0, 1, 1], [1, 1, 1, 1]]).bool()
    other = torch.where(mask.unsqueeze(-1), x, 1e3 * torch.randn_like(x))
    one, two = block(x, mask), block(other, mask)
    assert torch.equal(one[mask], two[mask])
    assert torch.equal(pool(one, mask), pool(two, mask))


@pytest.mark.parametrize("heads", [1, 2, 12])
@torch.no_grad()
def test_self_attention_follows_the_order_and_the_pool_forgets_it(heads: int) -> None:
    block, x = self_attention(heads), torch.randn(3, 5, D)
    mask = torch.tensor([[1, 1, 0, 0, 1], [1, 0, 1, 1, 1], [1, 1, 1, 1, 1]]).bool()
    order = torch.tensor([3, 0, 4, 2, 1])
    one, two = block(x, mask), block(x[:, order], mask[:, order])
    real = mask[:, order]
    torch.testing.assert_close(one[:, order][real], two[real], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(pool(one, mask), pool(two, real), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_cross_attention_changes_an_item_with_the_label() -> None:
    torch.manual_seed(0)
    block = CrossAttention(D, 2, dropout=0.0).eval()
    items, labels, mask = torch.randn(3, 4, D), torch.randn(6, 2, D), torch.ones(6, 2).bool()
    every = torch.arange(6).expand(3, 6)
    adapted = pool(block.adapt(items, block.fold(labels, mask), every), torch.ones(3, 1, 4).bool())
    assert adapted.shape == (3, 6, D)
    torch.testing.assert_close(adapted.norm(dim=-1), torch.ones(3, 6))
    alike = adapted @ adapted.transpose(1, 2)
    assert alike[:, ~torch.eye(6).bool()].max() < 0.999
    assert (adapted @ pool(items, torch.ones(3, 4).bool()).unsqueeze(-1)).max() < 0.999


def moves(small, catalog: Catalog) -> tuple[float, float, Tensor, Tensor]:
    """How far training items move for relevant and for other labels (mean 1 - cosine); scores of both."""
    cpu = torch.device("cpu")
    p = store.load_pretrained(small.noun("pretrained_model"), cpu)
    tuned = store.load_finetuned(small.noun("finetuned_classifiers"), p, catalog.n_seen, cpu)
    ranker, bags, rows = tuned.ranker, Bags(catalog, p.modalities), catalog.rows("train")
    relevant = torch.from_numpy(catalog.links("train").toarray() > 0)
    with torch.inference_mode():
        tables, weights = label_side(ranker, bags, p.image, p.text, catalog.n_seen)
        batch = bags.take(rows)
        attended, mask, unit = ranker.bags(batch, p.image[batch.images], p.text[batch.texts])
        every = torch.arange(catalog.n_seen).expand(len(rows), -1)
        assert ranker.cross is not None
        assert tables is not None
        adapted = pool(ranker.cross.adapt(attended, tables, every), mask.unsqueeze(1))
        moved = 1 - (adapted * unit.unsqueeze(1)).sum(-1)
        score = (adapted * weights).sum(-1)
    return float(moved[relevant].mean()), float(moved[~relevant].mean()), score[relevant], score[~relevant]


def test_training_turns_cross_attention_to_relevant_labels(built, catalog: Catalog, tmp_path) -> None:
    before = ("encode.image_backbone=handmade", "pretrain.epochs=40", "pretrain.train_backbones=false")
    small = built.branch(tmp_path / "trained", ("ingest",), (*before, "finetune.epochs=30", "finetune.lr=5e-3"))
    small.run("encode", "pretrain", "index", "mine", "finetune")
    done = ("ingest", "encode", "pretrain", "index", "mine")
    still = ("finetune.epochs=1", "finetune.lr=1e-9", "finetune.classifier_lr=1e-9")
    fresh = small.branch(tmp_path / "fresh", done, (*before, *still))
    fresh.run("finetune")
    near, far, _, _ = moves(fresh, catalog)
    relevant, other, score, rest = moves(small, catalog)
    assert relevant > 0.01
    assert relevant / other > 2 * near / far
    assert score.mean() > rest.mean() + 0.2
