"""What `pretrain` and `finetune` leave, and the settings they run with."""

from __future__ import annotations

import filecmp
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mufin_model.catalog.catalog import Catalog
from mufin_model.config import Settings
from mufin_model.encoders.backbones import Backbones, catalog_texts
from mufin_model.network import store
from mufin_model.network.bags import Bags
from mufin_model.network.embedder import Embedder, FrozenVectors, TunedImages, TunedTexts, unit_vectors


@torch.inference_mode()
def test_tuned_backbones_leave_what_they_now_see(built) -> None:
    folder, encoded = built.noun("pretrained_model"), built.noun("encoder_embeddings")
    catalog = Catalog.load(built.noun("raw_descriptors"))
    saved, before = (Backbones.load(f / "backbones").eval() for f in (folder, encoded))
    for tower in ("image", "text"):
        after, start = getattr(saved, tower).state_dict(), getattr(before, tower).state_dict()
        assert any(not torch.equal(after[name], start[name]) for name in after)
    table = catalog.images.pixels(range(len(catalog.images)))
    embedder = Embedder(
        TunedImages(saved.image, table), TunedTexts(saved.text, catalog_texts(catalog)), built.settings.pretrain
    )
    embedder.load_state_dict(load_file(folder / "model.safetensors"))
    embedder.eval()
    image, text = np.load(folder / "image.npy"), np.load(folder / "text.npy")
    assert image.dtype == text.dtype == np.float32
    np.testing.assert_allclose(embedder.image(torch.arange(len(image))).numpy(), image, atol=1e-4)
    some = torch.randperm(len(text))[:17]  # in another order and another batch
    np.testing.assert_allclose(embedder.text(some).numpy(), text[some], atol=1e-4)
    # ... and not what `encode` saw, by the same projections.
    frozen = Embedder(
        FrozenVectors(torch.from_numpy(np.load(encoded / "image.npy"))),
        FrozenVectors(torch.from_numpy(np.load(encoded / "text.npy"))),
        built.settings.pretrain,
    )
    frozen.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    assert np.abs(frozen.eval().image(torch.arange(len(image))).numpy() - image).mean() > 0.01


def test_embeddings_are_those_of_the_saved_descriptors(built) -> None:
    folder = built.noun("pretrained_model")
    catalog = Catalog.load(built.noun("raw_descriptors"))
    p = store.load_pretrained(folder, torch.device("cpu"))
    bags = Bags(catalog, p.modalities)
    items, labels = np.load(folder / "item_embeddings.npy"), np.load(folder / "label_embeddings.npy")
    assert items.shape == (len(catalog.items), p.dimension)
    assert labels.shape == (catalog.n_labels, p.dimension)
    rows = np.random.default_rng(0).permutation(bags.n_items + bags.n_labels)
    made = unit_vectors(p.attention, bags, p.image, p.text, rows, batch=13).numpy()
    np.testing.assert_allclose(made, np.concatenate([items, labels])[rows], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(items, axis=1), 1, atol=1e-4)


def test_frozen_backbones_stay_as_they_were(built, tmp_path) -> None:
    small = built.branch(tmp_path, ("ingest", "encode"), ("pretrain.train_backbones=false", "pretrain.epochs=1"))
    small.run("pretrain")
    one, other = (built.noun("encoder_embeddings") / "backbones", small.noun("pretrained_model") / "backbones")
    one, other = Backbones.load(one).state_dict(), Backbones.load(other).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "overrides",
    [
        ("pretrain.modalities=[text]",),
        ("pretrain.modalities=[image]",),
        ("pretrain.self_attention=false", "index.augment=false"),
        ("finetune.cross_attention=false", "index.kind=hnsw", "index.head_items=4"),
        ("finetune.classifiers=false", "index.kind=ivf", "index.augment_weights=[1, 1, 1]"),
        ("pretrain.loss=triplet", "pretrain.dropout=0"),
        ("pretrain.head=softmax", "pretrain.neighbour_weight=0.5"),
        ("pretrain.head=logistic", "pretrain.modality_dropout=0"),
        ("pretrain.images_per_bag=9", "mine.shortlist=1000", "predict.shortlist=1000", "predict.neighbours=1000"),
        ("pretrain.early_fusion=true", "pretrain.train_backbones=true"),
        ("pretrain.early_fusion=true", "pretrain.train_backbones=true", "finetune.end_to_end=true"),
        ("pretrain.early_fusion=true", "pretrain.modalities=[text]"),
        ("pretrain.prototypes=6", "pretrain.epochs=2"),
        ("pretrain.prototypes=1", "pretrain.loss=triplet", "pretrain.dynamic_margin=true"),
        ("pretrain.balanced_positives=true",),
        ("mine.shortlist=1", "predict.shortlist=1", "predict.neighbours=1", "predict.top_k=1"),
    ],
    ids=" ".join,
)
def test_every_setting_runs_to_predictions(built, tmp_path, overrides) -> None:
    cheap = ("pretrain.epochs=1", "finetune.epochs=1", "pretrain.train_backbones=false")
    small = built.branch(tmp_path, ("ingest", "encode"), (*cheap, *overrides))
    small.run("pretrain", "index", "mine", "finetune", "predict")
    fusion = json.loads((small.noun("predictions") / "fusion.json").read_text())
    assert np.isfinite(list(fusion["weights"].values())).all()
    for noun, names in {
        "pretrained_model": ("image", "text", "item_embeddings", "label_embeddings"),
        "anns_index": ("labels",),
        "finetuned_classifiers": ("classifiers",),
    }.items():
        for name in names:
            assert np.isfinite(np.load(small.noun(noun) / f"{name}.npy")).all(), name


def test_no_validation_items(built, tmp_path) -> None:
    small = built.branch(tmp_path, (), ("ingest.validation_fraction=0", "pretrain.epochs=1", "finetune.epochs=1"))
    small.run("ingest", "encode", "pretrain", "index", "mine", "finetune", "predict")
    assert (small.noun("predictions") / "mufin.npz").is_file()


def test_a_second_run_leaves_the_same_bytes(built, tmp_path) -> None:
    """Their hash is the data version. Both runs here: what ran in between may change a library's rounding."""
    once, second = built.branch(tmp_path / "first"), built.branch(tmp_path / "second")
    for run in (once, second):
        run.run("ingest", "encode", "pretrain", "index", "mine", "finetune", "predict")
    first = once.workspace.dataset(once.dataset)
    differing = []
    for path in sorted(first.rglob("*")):
        there = second.workspace.dataset(second.dataset) / path.relative_to(first)
        if path.is_file() and ".state" not in path.parts and not filecmp.cmp(path, there, shallow=False):
            differing.append(str(path.relative_to(first)))
    assert differing == []


def test_another_seed_is_another_model(built, tmp_path) -> None:
    small = built.branch(tmp_path, ("ingest", "encode", "pretrain", "index", "mine"))
    other: Settings = small.settings.model_copy(update={"seed": 4})
    type(small)(small.workspace, other).run("finetune")
    one, two = (np.load(s.noun("finetuned_classifiers") / "classifiers.npy") for s in (built, small))
    assert not np.allclose(one, two)
