"""A small catalogue's features, as of pretrained weights: random ones serve the equations as well."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from mufin_model.artefacts import read_json, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.ridge.features import Features, Featurizer
from tests.conftest import Small

CPU = torch.device("cpu")
BOTH = ("text", "image")


@dataclass(frozen=True)
class World:
    """A catalogue, its encoder_embeddings, and the features of its items and labels."""

    catalog: Catalog
    encoded: Path
    featurizer: Featurizer
    items: Features
    labels: Features
    rows: np.ndarray
    links: sparse.csr_matrix

    @property
    def known(self) -> Features:
        return self.items.take(self.rows)


@pytest.fixture(scope="session")
def encoded(built: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoded")
    for name in ("image.npy", "text.npy"):
        shutil.copyfile(built.noun("encoder_embeddings") / name, folder / name)
    meta = read_json(built.noun("encoder_embeddings") / "meta.json")
    write_json(folder / "meta.json", meta | {"random_weights": {"image": False, "text": False}})
    return folder


@pytest.fixture(scope="session")
def world(built: Small, encoded: Path) -> World:
    catalog = Catalog.load(built.noun("raw_descriptors"))
    rows = np.concatenate([catalog.rows(split) for split in ("train", "val")])
    links = sparse.vstack([catalog.links(split) for split in ("train", "val")]).tocsr()
    featurizer = Featurizer.fit(catalog, encoded, rows, BOTH, CPU)
    items, labels = featurizer.of_catalog(catalog, encoded)
    return World(catalog, encoded, featurizer, items, labels.take(np.arange(catalog.n_seen)), rows, links)
