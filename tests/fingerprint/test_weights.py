"""Files, folders, packages and the hub's cache: whatever the settings name, another content has another version."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mufin_model import config
from mufin_model.config import Encode
from mufin_model.fingerprint.weights import Hashes, weights
from tests.conftest import PARAMS


def encode(*overrides: str) -> Encode:
    plain = ("encode.image_backbone=handmade", "encode.text_backbone=bert", "encode.image_weights=none")
    return config.load(PARAMS, "demo", [*plain, *overrides]).encode


def of(root: Path, *overrides: str) -> dict[str, str | None]:
    return weights(root, encode(*overrides), Hashes(root / "hashes.json"))


IMAGE = "encode.image_backbone=resnet10t"


def test_without_pretrained_weights_there_are_none(tmp_path: Path):
    assert of(tmp_path) == {}
    assert of(tmp_path, IMAGE) == {}
    assert of(tmp_path, "encode.image_weights=hub") == {}  # handmade features have none


def test_a_file_counts_by_its_bytes(tmp_path: Path):
    named = (f"{IMAGE}+handmade", "encode.image_weights=models/x.safetensors")
    assert of(tmp_path, *named) == {"models/x.safetensors": "missing"}
    file = tmp_path / "models" / "x.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"one")
    before = of(tmp_path, *named)
    os.utime(file, (1, 1))
    assert of(tmp_path, *named) == before
    file.write_bytes(b"two")
    assert of(tmp_path, *named) != before


def test_a_local_folder_counts_by_its_files(tmp_path: Path):
    folder = tmp_path / "models" / "text"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"one")
    before = of(tmp_path, "encode.text_backbone=models/text")
    assert list(before) == ["models/text"]
    (folder / "tokenizer.json").write_text("{}")
    assert of(tmp_path, "encode.text_backbone=models/text") != before


def test_a_package_counts_by_its_version_and_its_files(tmp_path: Path, monkeypatch):
    place = tmp_path / "site"
    package, told = place / "some_text_weights", place / "some_text_weights-1.2.dist-info"
    (package / "deep").mkdir(parents=True)
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: some-text-weights\nVersion: 1.2\n")
    (package / "__init__.py").touch()
    (package / "deep" / "config.json").write_text("{}")
    (package / "deep" / "model.safetensors").write_bytes(b"one")
    monkeypatch.syspath_prepend(str(place))
    before = of(tmp_path, "encode.text_backbone=some_text_weights")["some_text_weights"]
    assert before.startswith("1.2 ")
    (package / "deep" / "model.safetensors").write_bytes(b"other")
    after = of(tmp_path, "encode.text_backbone=some_text_weights")["some_text_weights"]
    assert after.startswith("1.2 ")
    assert after != before
    image = of(tmp_path, IMAGE, "encode.image_weights=some_text_weights")
    assert image["some_text_weights"].startswith("1.2 ")


@pytest.mark.parametrize(
    ("overrides", "name", "repository"),
    [
        (("encode.text_backbone=org/model",), "hub: org/model", "models--org--model"),
        ((IMAGE, "encode.image_weights=hub"), "hub: timm/resnet10t", "models--timm--resnet10t.c3_in1k"),
        (
            ("encode.image_backbone=hf-hub:org/vit", "encode.image_weights=hub"),
            "hub: org/vit",
            "models--org--vit",
        ),
    ],
)
def test_a_model_of_the_hub_counts_by_its_commit(tmp_path: Path, monkeypatch, overrides, name, repository):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert of(tmp_path, *overrides) == {name: None}
    ref = tmp_path / "hub" / repository / "refs" / "main"
    ref.parent.mkdir(parents=True)
    ref.write_text("1" * 40)
    before = of(tmp_path, *overrides)
    assert before[name].endswith("1" * 40)
    ref.write_text("2" * 40)
    assert of(tmp_path, *overrides)[name].endswith("2" * 40)
