"""The ridge classifiers: against the formula, against masking, and against what neither modality knows alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy.sparse import csr_matrix

from mufin_model.artefacts import read_json, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.encoders.handmade import ink
from mufin_model.inference.ridge import DIAGONAL, FORMS, Features, Form, Ridge


@pytest.fixture(scope="module")
def catalog(built) -> Catalog:
    return Catalog.load(built.noun("raw_descriptors"))


CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoded(built, tmp_path_factory) -> Path:
    """Embeddings as of pretrained weights: random ones serve the equations as well."""
    folder = tmp_path_factory.mktemp("encoded")
    for name in ("image.npy", "text.npy"):
        shutil.copyfile(built.noun("encoder_embeddings") / name, folder / name)
    meta = read_json(built.noun("encoder_embeddings") / "meta.json")
    write_json(folder / "meta.json", meta | {"random_weights": {"image": False, "text": False}})
    return folder


@pytest.fixture(scope="module")
def features(catalog: Catalog, encoded: Path) -> Features:
    return Features(catalog, encoded, catalog.rows("train"), CPU)


def test_embeddings_of_random_weights_are_left_out(catalog: Catalog, features: Features, built) -> None:
    plain = Features(catalog, built.noun("encoder_embeddings"), catalog.rows("train"), CPU)
    assert not plain.sentences.any()
    assert not plain.images.any()
    assert features.sentences.any()
    assert features.images.any()


@pytest.mark.parametrize("form", FORMS)
def test_scores_solve_the_ridge_equations(catalog: Catalog, features: Features, form: Form) -> None:
    rows, links = catalog.rows("train"), catalog.links("train")
    kernel = features.kernel(rows, rows, form, ("text", "image")).double().numpy()
    assert np.allclose(kernel, kernel.T, atol=1e-5)
    kernel *= DIAGONAL / kernel.diagonal().mean()
    scale = DIAGONAL / features.kernel(rows, rows, form, ("text", "image")).diagonal().mean().item()
    weights = np.linalg.solve(kernel + form.penalty * np.eye(len(rows)), links.toarray()) * scale
    asked = catalog.rows("val")
    expected = features.kernel(asked, rows, form, ("text", "image")).double().numpy() @ weights
    got = Ridge(features, rows, links, form)(asked, ("text", "image"))
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_a_masked_modality_is_not_looked_at(catalog: Catalog, encoded: Path) -> None:
    rows, links = catalog.rows("train"), catalog.links("train")
    ridge = Ridge(Features(catalog, encoded, rows, CPU), rows, links, FORMS[1])
    asked = catalog.rows("test")[:20]
    before = {seen: ridge(asked, seen) for seen in (("text",), ("image",), ("text", "image"))}
    for name in ("words", "characters"):
        setattr(ridge.features, name, csr_matrix(getattr(ridge.features, name).shape, dtype=np.float32))
    ridge.features.sentences = torch.zeros_like(ridge.features.sentences)
    np.testing.assert_array_equal(ridge(asked, ("image",)), before["image",])
    assert np.abs(ridge(asked, ("text",)) - before["text",]).max() > 1e-3
    assert np.abs(before["text", "image"] - before["text",]).max() > 1e-3


def test_an_item_with_nothing_scores_zero(catalog: Catalog, features: Features) -> None:
    rows, links = catalog.rows("train"), catalog.links("train")
    scores = Ridge(features, rows, links, FORMS[0])(rows[:3], ())
    np.testing.assert_array_equal(scores, np.zeros_like(scores))


def test_texts_without_words(catalog: Catalog, encoded: Path) -> None:
    silent = Catalog.load(catalog.folder)
    silent.items = silent.items.with_columns(text=pl.lit(""))
    rows = catalog.rows("train")
    scores = Ridge(Features(silent, encoded, rows, CPU), rows, catalog.links("train"), FORMS[0])(
        rows[:5], ("text", "image")
    )
    assert np.isfinite(scores).all()


def test_ink_tells_thick_strokes_from_thin() -> None:
    picture = torch.full((3, 3, 64, 64), 255, dtype=torch.uint8)
    picture[0, :, 30:32, 10:50] = 0
    picture[1, :, 22:38, 10:50] = 0
    got = ink(picture)
    assert torch.isfinite(got).all()
    assert (got[0] - got[1]).abs().max() > 0.5
    assert got[2, 0] == 0  # a blank picture has no ink at any level above none
    assert torch.equal(ink(picture[1:2]), got[1:2])


@pytest.mark.parametrize("side", [1, 5, 40])
def test_ink_of_any_size(side: int) -> None:
    got = ink(torch.randint(0, 255, (2, 3, side, side), dtype=torch.uint8))
    assert got.shape == ink(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).expand(2, -1).shape
    assert torch.isfinite(got).all()
