"""params.yaml written with its comments kept."""

from __future__ import annotations

import difflib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mufin_dagster import params
from mufin_model.artefacts import Workspace
from mufin_model.config import load, read
from mufin_model.errors import DatasetError, SettingError

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    shutil.copy(REPOSITORY / "params.yaml", tmp_path / "params.yaml")
    return Workspace(tmp_path)


def changes(workspace: Workspace) -> list[str]:
    before = (REPOSITORY / "params.yaml").read_text().splitlines()
    after = workspace.params.read_text().splitlines()
    return [line for line in difflib.ndiff(before, after) if line[0] in "+-"]


def test_only_the_datasets_own_line_changes(workspace):
    assert params.override(workspace, "demo", ["mine.shortlist=7"])
    assert changes(workspace) == ["-     mine: {}", "+     mine: {shortlist: 7}"]
    assert load(workspace.params, "demo").mine.shortlist == 7


def test_numbers_and_lists_read_back_as_they_were_given(workspace):
    params.override(workspace, "demo", ["pretrain.lr=3e-5", "evaluate.ks=[1, 2]", "seed=5"])
    settings = load(workspace.params, "demo")
    assert (settings.pretrain.lr, settings.evaluate.ks, settings.seed) == (3e-5, [1, 2], 5)
    assert "evaluate: {ks: [1, 2]}" in workspace.params.read_text()


def test_a_preset_is_written_as_its_settings(workspace):
    wanted = load(workspace.params, "demo", ["preset=mufin"])
    assert wanted != load(workspace.params, "demo")
    assert params.override(workspace, "demo", ["preset=mufin"])
    assert load(workspace.params, "demo") == wanted
    assert "preset" not in read(workspace.params)


def test_a_value_that_holds_already_writes_nothing(workspace):
    value = load(workspace.params, "demo").mine.shortlist
    assert not params.override(workspace, "demo", [f"mine.shortlist={value}"])
    assert changes(workspace) == []


@pytest.mark.parametrize("wrong", ["mine.shortlst=7", "mine.shortlist=0", "mine", "nothing.x=1"])
def test_a_wrong_override_writes_nothing(workspace, wrong):
    with pytest.raises(SettingError):
        params.override(workspace, "demo", ["pretrain.epochs=3", wrong])
    assert changes(workspace) == []


def test_an_unknown_dataset_is_refused(workspace):
    with pytest.raises(DatasetError, match="no dataset named 'dem'"):
        params.override(workspace, "dem", ["mine.shortlist=7"])


def test_a_registered_dataset_loads(workspace):
    params.register(workspace, "shop")
    assert read(workspace.params)["datasets"] == ["demo", "shop"]
    assert load(workspace.params, "shop").mine == load(workspace.params, "demo").mine
    assert not [line for line in changes(workspace) if line.startswith("-")]


def test_writers_at_once_lose_nothing(workspace):
    told = [f"{stage}.{key}={value}" for stage, key, value in WRITES]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda one: params.override(workspace, "demo", [one]), told))
    section = read(workspace.params)["per_dataset"]["demo"]
    assert [section[stage][key] for stage, key, _ in WRITES] == [value for *_, value in WRITES]


WRITES = [
    ("ingest", "image_size", 31),
    ("encode", "max_tokens", 31),
    ("pretrain", "epochs", 31),
    ("mine", "shortlist", 31),
    ("finetune", "epochs", 31),
    ("predict", "top_k", 31),
]
