"""The backbones: what they leave, what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mufin_model import config
from mufin_model.catalog.catalog import Catalog
from mufin_model.encoders.backbones import Backbones, catalog_texts, encode_images, encode_texts
from mufin_model.encoders.image import ImageEncoder, augment
from mufin_model.encoders.text import build, pad_batches
from mufin_model.errors import SettingError
from tests.conftest import PARAMS

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def backbones(built) -> Backbones:
    return Backbones.load(built.noun("encoder_embeddings") / "backbones").eval()


def test_vectors_are_unit_and_empty_texts_zero(built) -> None:
    folder, catalog = built.noun("encoder_embeddings"), Catalog.load(built.noun("raw_descriptors"))
    image, text = np.load(folder / "image.npy"), np.load(folder / "text.npy")
    texts = catalog_texts(catalog)
    assert len(image) == len(catalog.images)
    assert len(text) == len(texts) == len(catalog.items) + catalog.n_labels
    np.testing.assert_allclose(np.linalg.norm(image, axis=1), 1, atol=1e-5)
    empty = np.array([not t for t in texts])
    assert empty.any()
    assert not text[empty].any()
    np.testing.assert_allclose(np.linalg.norm(text[~empty], axis=1), 1, atol=1e-5)


def test_saved_backbones_give_the_saved_vectors_in_any_batch(built, backbones) -> None:
    folder, catalog = built.noun("encoder_embeddings"), Catalog.load(built.noun("raw_descriptors"))
    ids, mask = backbones.text.tokenize(catalog_texts(catalog))
    order = torch.randperm(len(ids))
    text = torch.nn.functional.normalize(encode_texts(backbones.text, ids[order], mask[order], 7, CPU), dim=1)
    saved = torch.from_numpy(np.load(folder / "text.npy"))[order]
    some = saved.any(1)
    torch.testing.assert_close(text[some], saved[some], atol=1e-4, rtol=0)
    table = catalog.images.pixels(range(len(catalog.images)))[::-1].copy()
    image = torch.nn.functional.normalize(encode_images(backbones.image, table, 5, CPU), dim=1)
    np.testing.assert_allclose(image.numpy()[::-1], np.load(folder / "image.npy"), atol=1e-4)


def test_tokens_are_cut_and_masked(backbones) -> None:
    ids, mask = backbones.text.tokenize(["", "lamp", "lamp " * 200])
    assert ids.shape == mask.shape == (3, 16)
    assert mask.sum(1).tolist()[2] == 16
    assert mask.dtype == torch.bool


def test_batches_of_like_length_hold_each_row_once() -> None:
    lengths = torch.tensor([5, 1, 4, 1, 9, 2, 2])
    cut = pad_batches(lengths, 3)
    assert sorted(torch.cat(cut).tolist()) == list(range(7))
    assert torch.cat([lengths[rows] for rows in cut]).tolist() == sorted(lengths.tolist())


def test_no_images() -> None:
    assert encode_images(torch.nn.Identity(), np.zeros((0, 3, 8, 8), np.uint8), 4, CPU).shape[0] == 0


@pytest.mark.parametrize("name", ["resnett18", "no_such_model"])
def test_an_unknown_image_backbone_is_named(name: str) -> None:
    with pytest.raises(SettingError, match=name) as caught:
        ImageEncoder(name, "none", 16)
    assert "encode.image_backbone" in str(caught.value)


def test_image_weights_load_or_are_refused(tmp_path: Path) -> None:
    one = ImageEncoder("test_byobnet", "none", 16)
    path = tmp_path / "weights.safetensors"
    state = {name: value.contiguous() for name, value in one.backbone.state_dict().items()}
    save_file(state | {"head.fc.weight": torch.zeros(3, 3)}, path)
    two = ImageEncoder("test_byobnet", str(path), 16)
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    torch.testing.assert_close(one.eval()(pixels), two.eval()(pixels))
    first = next(name for name, value in state.items() if value.ndim > 1)
    for broken in (
        {name: value for name, value in state.items() if name != first},
        state | {first: torch.zeros(1, 1)},
    ):
        save_file(broken, path)
        with pytest.raises(SettingError, match="do not fit"):
            ImageEncoder("test_byobnet", str(path), 16)
    for content in (b"", b"nonsense" * 9):
        path.write_bytes(content)
        with pytest.raises(SettingError, match="cannot read"):
            ImageEncoder("test_byobnet", str(path), 16)
    with pytest.raises(SettingError, match="cannot read"):
        ImageEncoder("test_byobnet", str(tmp_path / "none_such.safetensors"), 16)


def test_images_too_small_for_a_backbone_are_named() -> None:
    with pytest.raises(SettingError, match="inception_v3"):
        ImageEncoder("inception_v3", "none", 16)


def test_an_unknown_text_backbone_is_refused_offline(settings_of) -> None:
    with pytest.raises(SettingError, match="cannot load the text backbone"):
        build(settings_of("encode.text_backbone=nobody/no-such-encoder").encode, ["a"])


def test_the_papers_encoders() -> None:
    """Only their weights need the model hub; without them it is said what to do."""
    chosen = config.load(PARAMS, "demo", ["preset=paper"]).encode
    assert chosen.text_backbone.startswith("sentence-transformers/")
    vision = ImageEncoder(chosen.image_backbone, "none", 32, chosen.image_scaled)
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert encode_images(vision, pixels.numpy(), 2, CPU).shape == (2, 768)
    with pytest.raises(SettingError, match="offline, set image_weights to none"):
        ImageEncoder(chosen.image_backbone, chosen.image_weights, 32, chosen.image_scaled)


def test_heads_must_divide_the_width(settings_of) -> None:
    with pytest.raises(SettingError, match="no multiple"):
        build(settings_of("encode.text_heads=5").encode, ["a"])


def test_a_local_folder_is_a_text_backbone(built, backbones, settings_of) -> None:
    folder = built.noun("encoder_embeddings") / "backbones" / "text"
    loaded = build(settings_of(f"encode.text_backbone={folder}").encode, []).eval()
    ids, mask = loaded.tokenize(["red lamp", "blue"])
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids, mask), backbones.text(*backbones.text.tokenize(["red lamp", "blue"])))


@pytest.mark.parametrize("texts", [["a"], ["", ""], ["one two", "two three"]])
def test_few_texts_make_a_vocabulary(texts: list[str], settings_of) -> None:
    encoder = build(settings_of().encode, texts).eval()
    with torch.no_grad():
        assert torch.isfinite(encoder(*encoder.tokenize(texts))).all()


def test_augment_shifts_and_no_more() -> None:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (64, 3, 16, 16), dtype=torch.uint8)
    shifted = augment(pixels)
    assert shifted.shape == pixels.shape
    assert shifted.dtype == torch.uint8
    found = set()
    for one, other in zip(pixels, shifted, strict=True):
        shifts = [
            (y, x)
            for y in range(-2, 3)
            for x in range(-2, 3)
            if torch.equal(other[:, 4:12, 4:12], one[:, 4 + y : 12 + y, 4 + x : 12 + x])
        ]
        assert len(shifts) == 1
        found |= set(shifts)
        if shifts == [(0, 0)]:
            assert torch.equal(one, other)
    assert len(found) > 10
    flat = torch.full((2, 3, 5, 5), 7, dtype=torch.uint8)
    assert torch.equal(augment(flat), flat)


def test_weights_from_a_package_fit_by_order(tmp_path: Path, monkeypatch) -> None:
    """As written by another implementation: other names, the same order and shapes; of a package that is never run."""
    import timm

    package = tmp_path / "some_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit")
    whole = timm.create_model("test_byobnet")
    state = {f"layer{at}": tensor for at, tensor in enumerate(whole.state_dict().values())}
    torch.save(state, package / "models" / "net.pth")
    monkeypatch.syspath_prepend(str(tmp_path))
    got = ImageEncoder("test_byobnet", "some_weights", 16)
    assert got.backbone is not None
    for name, tensor in got.backbone.state_dict().items():
        torch.testing.assert_close(tensor, whole.state_dict()[name])
    torch.save(dict(reversed(state.items())), package / "models" / "net.pth")
    with pytest.raises(SettingError, match="do not fit"):
        ImageEncoder("test_byobnet", "some_weights", 16)
    torch.save(state, package / "models" / "other.pth")
    with pytest.raises(SettingError, match="2 files of weights"):
        ImageEncoder("test_byobnet", "some_weights", 16)


def test_pictures_are_enlarged_to_what_the_weights_know() -> None:
    torch.manual_seed(1)
    plain, enlarged = ImageEncoder("test_byobnet", "none", 16), ImageEncoder("test_byobnet", "none", 16, 32)
    enlarged.load_state_dict(plain.state_dict())
    pixels = torch.randint(0, 255, (2, 3, 16, 16), dtype=torch.uint8)
    seen: list[tuple[int, ...]] = []
    assert enlarged.backbone is not None
    enlarged.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    assert enlarged.eval()(pixels).shape == plain.eval()(pixels).shape
    assert seen == [(2, 3, 32, 32)]
