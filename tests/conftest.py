"""A small dataset taken once through the stages ingest to predict, and settings to vary it by."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

# No test may wait for a network that is not there.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Tensors this small only wait for each other's threads, minutes where the cores are busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from mufin_model import config
from mufin_model.artefacts import NOUNS, Workspace
from mufin_model.cli import LIBRARY
from mufin_model.config import Settings

# Hypothesis would fail a test for being slow where other processes have the cores.
hypothesis.settings.register_profile("mufin", deadline=None)
hypothesis.settings.load_profile("mufin")

PARAMS = Path(__file__).parents[1] / "params.yaml"
SMALL = (
    "seed=3",
    "ingest.image_size=16",
    "ingest.validation_fraction=0.2",
    "encode.image_backbone=test_byobnet",
    "encode.text_vocabulary=300",
    "encode.text_width=32",
    "encode.text_layers=1",
    "encode.text_heads=2",
    "encode.max_tokens=16",
    "pretrain.dimension=32",
    "pretrain.heads=2",
    "pretrain.epochs=2",
    "pretrain.least_steps=0",
    "pretrain.head=none",
    "pretrain.neighbour_weight=0",
    "pretrain.batch_size=32",
    "pretrain.cluster_after=1",
    "pretrain.cluster_every=1",
    "pretrain.cluster_leaf=8",
    "pretrain.mixed_precision=fp32",
    "mine.shortlist=20",
    "finetune.epochs=2",
    "finetune.least_steps=0",
    "finetune.batch_size=32",
    "finetune.reranker_epochs=10",
    "finetune.positives=2",
    "finetune.negatives=6",
    "predict.shortlist=20",
    "predict.top_k=10",
    "predict.neighbours=10",
)
VERBS = ("ingest", "encode", "pretrain", "index", "mine", "finetune", "predict")


@dataclass(frozen=True)
class Small:
    """A workspace of one small dataset and the settings that made it."""

    workspace: Workspace
    settings: Settings
    dataset: str = "demo"

    def noun(self, noun: str) -> Path:
        return self.workspace.read(self.dataset, noun)

    def run(self, *verbs: str) -> None:
        for verb in verbs:
            importlib.import_module(LIBRARY[verb][0]).run(self.workspace, self.dataset, self.settings)

    def branch(self, root: Path, verbs: tuple[str, ...] = (), overrides: tuple[str, ...] = ()) -> Small:
        """A workspace of its own that shows the artefacts of these stages as they are here."""
        made = Small(Workspace(root), small_settings(*overrides), self.dataset)
        made.workspace.dataset(self.dataset).mkdir(parents=True, exist_ok=True)
        for noun in ("catalog", *(NOUNS[verb] for verb in verbs)):
            made.workspace.path(self.dataset, noun).symlink_to(self.workspace.path(self.dataset, noun))
        return made


def small_settings(*overrides: str) -> Settings:
    return config.load(PARAMS, "demo", [*SMALL, *overrides])


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """All stages from ingest to predict, run once. Read it only."""
    from mufin_model.catalog import synthetic

    small = Small(Workspace(tmp_path_factory.mktemp("built")), small_settings())
    synthetic.write(small.workspace.catalog(small.dataset), items=120, seed=3)
    small.run(*VERBS)
    return small


@pytest.fixture
def settings_of() -> Callable[..., Settings]:
    return small_settings
