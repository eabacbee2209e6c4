"""The stage release, over artefacts whose contents it need not understand."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from mufin_model import config
from mufin_model.artefacts import Workspace, write_json
from mufin_model.config import Settings
from mufin_model.errors import ArtefactError
from mufin_model.release import release

DATASET = "demo"
FIGURES = {"P@1": 0.5, "P@3": 0.25}


@pytest.fixture(scope="module")
def settings() -> Settings:
    return config.load(Path(__file__).parents[2] / "params.yaml", DATASET, ["release.licence=CC BY 4.0"])


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    for noun in (*release.NOUNS, "raw_descriptors", "predictions", "eval_report"):
        workspace.path(DATASET, noun).mkdir(parents=True)
    for noun in release.NOUNS:
        (workspace.path(DATASET, noun) / "backbones").mkdir()
        (workspace.path(DATASET, noun) / "backbones" / "weights.bin").write_bytes(noun.encode())
        (workspace.path(DATASET, noun) / "loss.csv").write_text("epoch,loss,val_p1\n")
    tables = workspace.path(DATASET, "raw_descriptors")
    for name in ("items", "links", "filters"):
        pl.DataFrame({"id": ["a"]}).write_parquet(tables / f"{name}.parquet")
    labels = {"id": ["x", "y"], "text": ["X", "Y"], "zero_shot": [False, True], "images": [[0], []]}
    pl.DataFrame(labels).write_parquet(tables / "labels.parquet")
    (tables / "images").mkdir()
    (tables / "images" / "chunk.arrow").write_bytes(b"large")
    write_json(tables / "summary.json", {"items": 1200, "links": {"train": 3}})
    write_json(workspace.path(DATASET, "predictions") / "fusion.json", {"weights": {"siamese": 1}})
    metrics = {
        "mufin": FIGURES,
        "popularity": FIGURES,
        "buckets": {"mufin": {">50": {"recall_10": 0.5}, "11-50": {"recall_10": 0.4}, "1-2": {"recall_10": 0.3}}},
        "zero_shot": {"R@10": 0.2, "chance R@10": 0.01, "labels": 10, "items": 5, "P@1": 0.1},
    }
    write_json(workspace.path(DATASET, "eval_report") / "metrics.json", metrics)
    return workspace


def test_holds_what_serving_needs(workspace: Workspace, settings: Settings) -> None:
    release.run(workspace, DATASET, settings)
    folder = workspace.read(DATASET, "released_model")
    told = json.loads((folder / "manifest.json").read_text())
    assert told["metrics"] == FIGURES
    assert not [name for name in told["files"] if "raw_descriptors/images" in name]
    assert {f"{noun}/backbones/weights.bin" for noun in release.NOUNS} < told["files"].keys()
    assert not list(folder.rglob("loss.csv"))
    assert pl.read_parquet(folder / "labels.parquet").columns == ["id", "text", "zero_shot"]
    release.verify(folder)


def test_the_card_says_what_it_is(workspace: Workspace, settings: Settings) -> None:
    release.run(workspace, DATASET, settings)
    card = (workspace.path(DATASET, "released_model") / "model_card.md").read_text()
    for words in (
        "trained on demo",
        "CC BY 4.0",
        "items: 1,200",
        "| **MUFIN** | **50.00** |",
        "30.0 % for labels with 1-2",
    ):
        assert words in card


def test_equal_input_gives_equal_bytes(workspace: Workspace, settings: Settings) -> None:
    release.run(workspace, DATASET, settings)
    first = release.manifest(workspace.path(DATASET, "released_model"))
    release.run(workspace, DATASET, settings)
    assert release.manifest(workspace.path(DATASET, "released_model")) == first


def test_a_changed_or_missing_file_is_found(workspace: Workspace, settings: Settings) -> None:
    release.run(workspace, DATASET, settings)
    folder = workspace.path(DATASET, "released_model")
    (folder / "fusion.json").write_text("{}")
    (folder / "labels.parquet").unlink()
    with pytest.raises(ArtefactError, match="2 files differ"):
        release.verify(folder)


def test_a_missing_artefact_is_named(workspace: Workspace, settings: Settings) -> None:
    (workspace.path(DATASET, "raw_descriptors") / "links.parquet").unlink()
    with pytest.raises(ArtefactError, match="No such file") as caught:
        release.run(workspace, DATASET, settings)
    assert "links.parquet" in str(caught.value)
    assert not workspace.path(DATASET, "released_model").exists()
