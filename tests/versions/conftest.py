"""A project with one real stage, raw_descriptors, and a shop's catalogue that a test can change."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

from mufin_dagster import datasets, versioning
from mufin_dagster.data_versions import commit
from mufin_model.artefacts import Workspace

REPOSITORY = Path(__file__).parents[2]
ITEMS = 60


def photo(seed: int) -> bytes:
    out = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).save(out, "PNG")
    return out.getvalue()


class Shop:
    """The project's folder, the catalogue to add, and what tests do with both."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root)
        self.root = root
        self.given = root.parent / "given"

    def draw(self, items: int = ITEMS, removed: int = 0, prefix: str = "item") -> Path:
        """Write the catalogue to add: items with a picture each, of which the first ones are gone."""
        self.given.mkdir(exist_ok=True)
        ids = [f"i{row}" for row in range(removed, items)]
        paths = [f"images/{id_}.png" for id_ in ids]
        table = pl.DataFrame(
            {"id": ids, "text": [f"{prefix} {id_}" for id_ in ids], "image_paths": [[p] for p in paths]}
        )
        table.write_parquet(self.given / "items.parquet")
        labels = {"id": ["a", "b"], "text": ["A", "B"], "image_paths": [[], []]}
        pl.DataFrame(labels, schema_overrides={"image_paths": pl.List(pl.String)}).write_parquet(
            self.given / "labels.parquet"
        )
        for name, chosen in (("train", ids[:-10]), ("test", ids[-10:])):
            links = {"item_id": chosen, "label_id": ["ab"[int(id_[1:]) % 2] for id_ in chosen]}
            pl.DataFrame(links).write_parquet(self.given / f"{name}.parquet")
        packed = {"path": paths, "bytes": [photo(int(id_[1:])) for id_ in ids]}
        pl.DataFrame(packed).write_parquet(self.given / "images.parquet")
        return self.given

    def mufin(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, **self.process(**environment))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "mufin_dagster.cli", *arguments]

    def process(self, **environment: str) -> dict[str, object]:
        return {"cwd": self.root, "env": versioning.environment(self.root) | {"COLUMNS": "200", **environment}}

    def dvc(self, *arguments: str) -> str:
        return versioning.dvc(self.root, *arguments)

    def git(self, *arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=self.root, check=True, capture_output=True, text=True).stdout

    def version(self, message: str, **drawn: object) -> str:
        """Draw, add or replace, ingest, commit."""
        datasets.add(self.workspace, "shop", self.draw(**drawn), replace=True)
        done = self.mufin("ingest", "--dataset", "shop")
        assert done.returncode == 0, done.stderr
        made = commit(self.workspace, message)
        assert made
        return made

    def artefact(self, noun: str = "raw_descriptors") -> dict[str, bytes]:
        folder = self.workspace.path("shop", noun)
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def project(root: Path) -> Shop:
    """A git and DVC repository whose pipeline has the stage raw_descriptors alone, and no dataset yet."""
    root.mkdir()
    for file in (".gitignore", ".dvcignore"):
        shutil.copy(REPOSITORY / file, root / file)
    settings = (REPOSITORY / "params.yaml").read_text().split("per_dataset:")[0]
    settings = settings.replace("  - demo\n", "  - other\n").replace("image_size: 64", "image_size: 8")
    (root / "params.yaml").write_text(f"{settings}per_dataset:\n  other: {{seed: null, ingest: {{}}}}\n")
    stage = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]["raw_descriptors"]
    stage["deps"] = ["data/${item.dataset}/catalog"]
    # no stage `fingerprint` here: nothing of the code is asked for
    stage["params"] = [one for one in stage["params"] if isinstance(one, str)]
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"raw_descriptors": stage}}))
    shop = Shop(root)
    shop.git("init", "-q")
    shop.git("config", "user.name", "A Merchant")
    shop.git("config", "user.email", "merchant@example.org")
    shop.dvc("init", "-q")
    shop.dvc("remote", "add", "-d", "folder", "../remote")  # relative: a copy of the folder has its own
    shop.git("add", ".")
    shop.git("commit", "-qm", "A project")
    return shop


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one version of the dataset `shop`."""
    folder = tmp_path_factory.mktemp("shop")
    project(folder / "project").version("First photographs")
    return folder


@pytest.fixture(scope="session")
def grown_template(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `template`, with a second version of five items more."""
    folder = tmp_path_factory.mktemp("grown")
    shutil.copytree(template, folder, symlinks=True, dirs_exist_ok=True)
    Shop(folder / "project").version("More", items=ITEMS + 5)
    return folder


@pytest.fixture
def shop(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A copy of the project with one version, to be changed."""
    yield from _copied(template, tmp_path, monkeypatch)


@pytest.fixture
def grown(grown_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """A copy of the project with two versions, to be changed."""
    yield from _copied(grown_template, tmp_path, monkeypatch)


def _copied(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    shutil.copytree(template, tmp_path, symlinks=True, dirs_exist_ok=True)
    root = tmp_path / "project"
    monkeypatch.delenv(versioning.IN_STAGE, raising=False)
    monkeypatch.setenv("MUFIN_ROOT", str(root))
    monkeypatch.chdir(root)
    yield Shop(root)
    os.chdir(REPOSITORY)
