"""What finetune leaves in ridge/, and what inference makes of it."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import load_npz

from mufin_model.catalog.catalog import Catalog
from mufin_model.errors import ArtefactError
from mufin_model.ridge import classifiers, fit
from mufin_model.ridge.scorer import RidgeScorer
from tests.conftest import Small

from .conftest import BOTH, CPU, World


@pytest.fixture(scope="module")
def folder(built: Small) -> Path:
    return built.noun("finetuned_classifiers") / fit.FOLDER


def test_left_out_items_are_not_scored_by_what_knows_them(built: Small, folder: Path) -> None:
    catalog = Catalog.load(built.noun("raw_descriptors"))
    scorer = RidgeScorer(folder, catalog.n_seen, CPU)
    items = scorer.of_catalog(catalog, built.noun("encoder_embeddings"))
    known = scorer(items.take(catalog.rows("val")), BOTH)
    truth = catalog.links("val").toarray() > 0

    def hits(ranked) -> float:
        best = ranked.labels[np.arange(len(truth)), ranked.reranker.argmax(1)]
        return float(truth[np.arange(len(truth)), best].mean())

    for view in (BOTH, ("text",), ("image",)):
        ranked = scorer.left_out(view)
        assert (
            ranked.labels.shape == ranked.ridge.shape == ranked.reranker.shape == (len(truth), ranked.labels.shape[1])
        )
        assert (np.diff(np.sort(ranked.labels, 1)) > 0).all()
    assert hits(known) > hits(scorer.left_out(BOTH)) + 0.1


def test_a_damaged_folder_is_told(folder: Path, built: Small, tmp_path: Path) -> None:
    broken = tmp_path / "ridge"
    shutil.copytree(folder, broken)
    with pytest.raises(ArtefactError, match="shape"):
        RidgeScorer(broken, 3, CPU)
    (broken / "known" / "words.npz").write_bytes(b"nothing")
    with pytest.raises(ArtefactError, match="does not load"):
        RidgeScorer(broken, Catalog.load(built.noun("raw_descriptors")).n_seen, CPU)


def test_beyond_its_limits_it_is_left_out(
    built: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fit, "LIMIT", 10)
    other = built.branch(tmp_path, ("ingest", "encode", "pretrain", "index", "mine"), ("finetune.epochs=1",))
    other.run("finetune", "predict")
    assert "ridge left out" in capsys.readouterr().out
    assert not (other.noun("finetuned_classifiers") / fit.FOLDER).exists()
    found = {path.stem for path in other.noun("predictions").glob("*.npz")}
    assert {"mufin", "classifier", "siamese"} <= found
    assert not found & {"ridge", "reranker"}
    assert classifiers.LIMIT > 10


def test_one_modality_alone_is_all_that_a_model_of_it_sees(built: Small, world: World, tmp_path: Path) -> None:
    settings = built.settings.finetune.model_copy(update={"reranker_epochs": 1, "reranker_networks": 1})
    catalog = world.catalog
    fit.write(tmp_path / "text", catalog, world.encoded, ["text"], BOTH, settings, 3, CPU)
    scorer = RidgeScorer(tmp_path / "text", catalog.n_seen, CPU)
    asked = world.items.take(catalog.rows("test"))
    both, text = scorer(asked, BOTH), scorer(asked, ("text",))
    np.testing.assert_array_equal(both.reranker, text.reranker)
    assert scorer.seen == ("text",)
    assert not (tmp_path / "text" / "image").exists()


@pytest.mark.parametrize("modality", BOTH)
def test_a_model_of_one_modality_predicts(built: Small, tmp_path: Path, modality: str) -> None:
    settings = (
        f"pretrain.modalities=[{modality}]",
        "pretrain.epochs=1",
        "finetune.epochs=1",
        "finetune.reranker_epochs=1",
    )
    other = built.branch(tmp_path, ("ingest", "encode"), settings)
    other.run("pretrain", "index", "mine", "finetune", "predict")
    seen, whole = (load_npz(other.noun("predictions") / f"{name}.npz") for name in (f"{modality}_only", "mufin"))
    assert (seen != whole).nnz == 0


def test_kept_weights_are_the_form_and_the_networks(built: Small, folder: Path, tmp_path: Path) -> None:
    other = built.branch(tmp_path, ("ingest", "encode", "pretrain", "index", "mine"), ("finetune.keep_weights=true",))
    shutil.copytree(built.noun("finetuned_classifiers"), other.workspace.path("demo", "finetuned_classifiers"))
    importlib.import_module("mufin_model.training.finetune").run(other.workspace, "demo", other.settings)
    kept = other.noun("finetuned_classifiers") / fit.FOLDER
    for name in ("text/config.json", "image/reranker/model.safetensors", "text+image/weights.npy"):
        assert (kept / name).read_bytes() == (folder / name).read_bytes(), name
