"""A trained dataset with its report, and challengers to what it releases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mufin_model.artefacts import NOUNS, Workspace
from mufin_model.release.shelf import Shelf
from tests.conftest import Small, small_settings

BETTER = ("pretrain.epochs=20", "finetune.epochs=10")
WORSE = ("pretrain.epochs=1", "pretrain.lr=1e-9", "pretrain.backbone_lr=1e-9", "finetune.epochs=1",
         "finetune.lr=1e-9", "finetune.classifier_lr=1e-9", "finetune.ridge=false")  # fmt: skip
"""Next to no training, and nothing fitted in closed form."""
STAGES = tuple(verb for verb in NOUNS if verb != "release")


def trained(of: Small, root: Path, overrides: tuple[str, ...]) -> Small:
    """The same encoded catalogue, and every later stage but release with these settings."""
    made = of.branch(root, ("ingest", "encode"), overrides)
    made.run("pretrain", "index", "mine", "finetune", "predict", "evaluate")
    return made


@pytest.fixture(scope="session")
def good(built: Small, tmp_path_factory: pytest.TempPathFactory) -> Small:
    """All stages but release, trained for long enough to be ahead of `worse` by far."""
    return trained(built, tmp_path_factory.mktemp("good"), BETTER)


@pytest.fixture(scope="session")
def worse(good: Small, tmp_path_factory: pytest.TempPathFactory) -> Small:
    """The same catalogue, hardly trained."""
    return trained(good, tmp_path_factory.mktemp("worse"), WORSE)


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., Small]:
    """A workspace of its own in which the stages of another are done. Overrides are of the gate."""

    def place(of: Small, *overrides: str) -> Small:
        gate = small_settings(*overrides).release
        made = Small(Workspace(tmp_path / "site"), of.settings.model_copy(update={"release": gate}), of.dataset)
        folder = made.workspace.dataset(of.dataset)
        folder.mkdir(parents=True, exist_ok=True)
        for verb in STAGES:
            link = folder / NOUNS[verb]
            link.unlink(missing_ok=True)
            link.symlink_to(of.noun(NOUNS[verb]).resolve())
        return made

    return place


def shelf_of(small: Small) -> Shelf:
    return Shelf(small.workspace, small.dataset)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
