"""A small dataset with every artefact that `evaluate` reads: colours and their names as items and labels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy.sparse import csr_matrix, save_npz

from mufin_model import config
from mufin_model.artefacts import Workspace, write_json
from mufin_model.catalog import ingest
from mufin_model.catalog.catalog import Catalog
from mufin_model.config import Settings
from mufin_model.evaluation.evaluate import CURVES, OURS

PARAMS = Path(__file__).parents[2] / "params.yaml"
COLOURS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (30, 60, 220), "black": (0, 0, 0)}
EVIL = '<script>alert("x")</script>'
DATASET = "demo"


@pytest.fixture(scope="session")
def settings() -> Settings:
    return config.load(PARAMS, DATASET, ["evaluate.gallery=10", "ingest.image_size=32"])


@pytest.fixture
def workspace(tmp_path: Path, settings: Settings) -> Workspace:
    return make(tmp_path, settings)


@pytest.fixture
def catalog(workspace: Workspace) -> Catalog:
    return Catalog.load(workspace.read(DATASET, "raw_descriptors"))


def make(root: Path, settings: Settings) -> Workspace:
    workspace = Workspace(root)
    folder = workspace.catalog(DATASET)
    (folder / "images").mkdir(parents=True)
    items, links = [], {"train": [], "test": []}
    rng = np.random.default_rng(0)
    for n in range(80):
        colour = list(COLOURS)[n % 4]
        split = "test" if n >= 60 else "train"
        path = f"images/{n}.png"
        shade = np.clip(np.array(COLOURS[colour]) + rng.integers(-20, 20, 3), 0, 255)
        Image.fromarray(np.full((20, 30, 3), shade, np.uint8)).save(folder / path)
        pictures = [] if n % 10 == 9 else [path]
        items.append({"id": f"i{n}", "text": f"{EVIL} {colour} {n}", "image_paths": pictures, "split": split})
        links[split] += [(f"i{n}", f"{colour} things"), (f"i{n}", "all things")]
        if n % 7 == 0:
            links[split].append((f"i{n}", EVIL))
    names = [*(f"{colour} things" for colour in COLOURS), "all things", EVIL]
    pl.DataFrame(items).write_parquet(folder / "items.parquet")
    pl.DataFrame({"id": names, "text": names}).write_parquet(folder / "labels.parquet")
    for split, pairs in links.items():
        _pairs(pairs).write_parquet(folder / f"{split}.parquet")
    _pairs([(f"i{n}", "all things") for n in (60, 61)]).write_parquet(folder / "filter_test.parquet")
    pl.DataFrame({"id": ["new", "newer"], "text": ["new", "newer"]}).write_parquet(folder / "zeroshot_labels.parquet")
    _pairs([("i70", "new"), ("i71", "newer")]).write_parquet(folder / "test_zeroshot.parquet")
    ingest.run(workspace, DATASET, settings)
    _predict(workspace)
    return workspace


def _pairs(pairs: list[tuple[str, str]]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema=["item_id", "label_id"], orient="row")


def _predict(workspace: Workspace) -> None:
    catalog = Catalog.load(workspace.read(DATASET, "raw_descriptors"))
    shape = catalog.links("test").shape
    rng = np.random.default_rng(1)
    folder = workspace.path(DATASET, "predictions")
    folder.mkdir()
    for name in OURS:
        scores = rng.random(shape) + (catalog.links("test").toarray() * 0.6 if name == "mufin" else 0)
        save_npz(folder / f"{name}.npz", csr_matrix(scores.astype(np.float32)))
    unseen = catalog.links("zero_shot").toarray() + 0.1
    save_npz(folder / "zero_shot.npz", csr_matrix(unseen.astype(np.float32)))
    write_json(folder / "fusion.json", {"weights": {"classifier": 1.0, EVIL: 0.5}, "means": {}, "deviations": {}})
    encoded = workspace.path(DATASET, "encoder_embeddings")
    encoded.mkdir()
    texts = catalog.items["text"].to_list() + catalog.labels["text"].to_list()
    # One dimension a word: what pretrained weights tell, without them.
    words = sorted({word for text in texts for word in text.split()})
    told = np.array([[word in text.split() for word in words] for text in texts], np.float32)
    np.save(encoded / "text.npy", told / np.maximum(np.linalg.norm(told, axis=1, keepdims=True), 1))
    write_json(encoded / "meta.json", {"random_weights": {"text": False, "image": True}})
    for noun in CURVES.values():
        workspace.path(DATASET, noun).mkdir()
        text = io.StringIO("epoch,loss,val_p1\n1,2.5,0.1\n2,1.5,0.4\n3,1.0,\n").getvalue()
        (workspace.path(DATASET, noun) / "loss.csv").write_text(text)
