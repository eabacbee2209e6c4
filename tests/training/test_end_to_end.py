"""Module IV with the encoder tuned along."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mufin_model.artefacts import read_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.encoders.backbones import Backbones
from mufin_model.inference.components import Scorer
from mufin_model.network import store
from mufin_model.training.descriptors import pretrained_encoder, re_encode

BEFORE = ("ingest", "encode", "pretrain", "index", "mine")
ON = ("finetune.end_to_end=true", "finetune.encoder_lr=1e-3")


@pytest.fixture(scope="module")
def tuned(built, tmp_path_factory):
    small = built.branch(tmp_path_factory.mktemp("tuned"), BEFORE, ON)
    small.run("finetune")
    return small


def scorer(small, settings=None, finetuned=None) -> Scorer:
    catalog = Catalog.load(small.noun("raw_descriptors"))
    folders = [small.noun(n) for n in ("encoder_embeddings", "pretrained_model", "anns_index")]
    return Scorer(catalog, *folders, finetuned or small.noun("finetuned_classifiers"), small.settings.predict)


def test_backbones_and_projections_move(tuned, built) -> None:
    folder, before = tuned.noun("finetuned_classifiers") / store.ENCODER, built.noun("pretrained_model")
    told = read_json(before / "config.json")
    assert told["tuned"] == {"image": True, "text": True}
    assert told["trained_parameters"] == sum(w.numel() for w in Backbones.load(before / "backbones").parameters())
    for tower in ("image", "text"):
        one, other = (getattr(Backbones.load(f / "backbones"), tower).state_dict() for f in (folder, before))
        assert any(not torch.equal(one[name], other[name]) for name in one), tower
    one, other = (load_file(f / "model.safetensors") for f in (folder, before))
    assert not any(name.startswith("attention.") for name in one)  # A_S is the ranker's
    for name in ("project_image.linear.weight", "project_text.linear.weight"):
        assert not torch.equal(one[name], other[name])


@torch.inference_mode()
def test_its_descriptors_are_those_of_the_saved_encoder(tuned, tmp_path) -> None:
    catalog = Catalog.load(tuned.noun("raw_descriptors"))
    folder = tuned.noun("finetuned_classifiers") / store.ENCODER
    image, text = store.descriptors(folder, torch.device("cpu"), tuned.settings.pretrain.dimension)
    # The encoder's folder is laid out as pretrained_model's, so that one reader serves both.
    shutil.copytree(folder, tmp_path / "encoder")
    shutil.copy(tuned.noun("pretrained_model") / "config.json", tmp_path / "encoder")
    encoder, _ = pretrained_encoder(tmp_path / "encoder", catalog, tuned.noun("encoder_embeddings"), tmp_path)
    made = re_encode(encoder, (len(image), len(text)), batch=7)
    torch.testing.assert_close(made[0], image, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(made[1], text, atol=1e-4, rtol=1e-3)
    some = re_encode(encoder, (len(image), len(text)), (np.array([3, 1]), np.array([0, 5])))
    torch.testing.assert_close(some[0][[1, 3]], image[[1, 3]], atol=1e-4, rtol=1e-3)
    assert not some[0][[0, 2]].any()
    assert not some[1][[1, 6]].any()


def test_the_classifier_sees_them_and_the_shortlist_does_not(tuned, built, tmp_path) -> None:
    rows = Catalog.load(tuned.noun("raw_descriptors")).rows("val")
    full = scorer(tuned)(rows, ["train"], ("image", "text"))
    changed = tmp_path / "changed"
    shutil.copytree(tuned.noun("finetuned_classifiers"), changed)
    shutil.copy(built.noun("pretrained_model") / "image.npy", changed / store.ENCODER)
    other = scorer(tuned, finetuned=changed)(rows, ["train"], ("image", "text"))
    np.testing.assert_array_equal(full.candidates, other.candidates)
    np.testing.assert_array_equal(full.components["siamese"], other.components["siamese"])
    real = full.real
    assert np.abs(full.components["classifier"][real] - other.components["classifier"][real]).max() > 1e-3
    before = scorer(built)(rows, ["train"], ("image", "text"))
    np.testing.assert_array_equal(full.components["siamese"], before.components["siamese"])


def test_the_saved_classifiers_follow_the_tuned_encoder(tuned) -> None:
    made = scorer(tuned)
    saved = np.load(tuned.noun("finetuned_classifiers") / "classifiers.npy")
    np.testing.assert_allclose(made.side[1].numpy(), saved, atol=1e-5)


def test_without_it_nothing_is_tuned_or_left(built) -> None:
    folder = built.noun("finetuned_classifiers")
    assert not (folder / store.ENCODER).exists()
    made = scorer(built)
    assert made.finetuned.image is made.pretrained.image
    assert made.finetuned.text is made.pretrained.text


@pytest.mark.parametrize("overrides", [("text", "auto"), ("image", "auto"), ("image, text", "false")], ids=str)
def test_one_modality_or_frozen_backbones(built, tmp_path, overrides) -> None:
    modalities, backbones = overrides
    settings = (f"pretrain.modalities=[{modalities}]", f"pretrain.train_backbones={backbones}", *ON)
    small = built.branch(tmp_path, ("ingest", "encode"), ("pretrain.epochs=1", "finetune.epochs=1", *settings))
    small.run("pretrain", "index", "mine", "finetune", "predict")
    weights = json.loads((small.noun("predictions") / "fusion.json").read_text())["weights"]
    assert np.isfinite(list(weights.values())).all()
    folder, before = small.noun("finetuned_classifiers") / store.ENCODER, small.noun("pretrained_model")
    one, other = (load_file(f / "model.safetensors") for f in (folder, before))
    for tower in ("image", "text"):
        trains = tower in modalities and backbones == "auto"
        assert any(name.startswith(f"{tower}s.backbone.") for name in one) == trains
        was, now = (getattr(Backbones.load(f / "backbones"), tower).state_dict() for f in (before, folder))
        assert all(torch.equal(was[name], now[name]) for name in was) != trains
        if tower in modalities:
            name = f"project_{tower}.linear.weight"
            assert not torch.equal(one[name], other[name])
