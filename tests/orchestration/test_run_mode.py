"""Refresh and retrain, by every way that starts them: what was learnt anew, what was not, and that params.yaml stays.

The first three of the project's own stages, on a tiny catalogue, through the real commands.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml

from mufin_dagster import jobs, lock_entry, pipeline, run_settings, stale, versioning
from mufin_model import run_mode
from mufin_model.artefacts import Workspace
from mufin_model.catalog import synthetic
from mufin_model.config import STAGES, load
from mufin_model.errors import SettingError
from tests.conftest import SMALL

from .conftest import REPOSITORY, Project

STAGES_RUN = ("raw_descriptors", "encoder_embeddings", "pretrained_model")
WEIGHTS = "pretrained_model/model.safetensors"


class Site(Project):
    """A project with the first three stages."""

    def weights(self) -> str:
        return hashlib.sha256((self.root / "data/shop" / WEIGHTS).read_bytes()).hexdigest()

    def kept(self) -> list[str]:
        return [noun for noun in STAGES_RUN if run_mode.kept(self.root / "data/shop" / noun)]

    def stale(self) -> list[str]:
        return sorted(stale.reasons(self.root, self.stages))

    def run(self, *arguments: str) -> str:
        done = self.mufin(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def new_items(root: Path) -> None:
    """Three more items of a new label."""
    folder = root / "data/shop/catalog"
    items, labels, train = (pl.read_parquet(folder / f"{name}.parquet") for name in ("items", "labels", "train"))
    more = items.head(3).with_columns(
        id=pl.format("new{}", pl.int_range(3)), text=pl.lit("a quite new thing"), split=pl.lit("train")
    )
    label = labels.head(1).with_columns(id=pl.lit("newlabel"), text=pl.lit("new things"))
    links = pl.DataFrame({"item_id": more["id"], "label_id": ["newlabel"] * 3}).select(train.columns)
    pl.concat([items, more.select(items.columns)]).write_parquet(folder / "items.parquet")
    pl.concat([labels, label]).write_parquet(folder / "labels.parquet")
    pl.concat([train, links]).write_parquet(folder / "train.parquet")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All three stages done by `mufin materialize`."""
    root = tmp_path_factory.mktemp("modes")
    for file in ("workspace.yaml", "dagster.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(REPOSITORY / file, root / file)
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    own: dict = {"seed": 3, **{stage: {} for stage in STAGES}}
    for key, _, value in (text.partition("=") for text in SMALL):
        if "." in key:
            own[key.split(".")[0]][key.split(".")[1]] = yaml.safe_load(value)
    (root / "params.yaml").write_text(yaml.safe_dump({**params, "datasets": ["shop"], "per_dataset": {"shop": own}}))
    pipeline_file = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())
    stages = {name: told for name, told in pipeline_file["stages"].items() if name in ("fingerprint", *STAGES_RUN)}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    versioning.dvc(root, "init", "-q")
    synthetic.write(root / "data/shop/catalog", items=60, seed=3)
    versioning.dvc(root, "add", "-q", "data/shop/catalog")
    site = Site(root)
    done = site.mufin("materialize")
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.stale() == []
    return root


@pytest.fixture
def site(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    root = tmp_path / "project"
    shutil.copytree(trained, root, symlinks=True)
    monkeypatch.setenv("MUFIN_ROOT", str(root))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(root)
    return Site(root)


@pytest.mark.timeout(900)
def test_the_commands_do_what_their_names_say(site: Site) -> None:
    settings, weights = (site.root / "params.yaml").read_bytes(), site.weights()
    new_items(site.root)
    site.run("refresh")
    assert site.kept() == list(STAGES_RUN)
    assert site.weights() == weights
    assert "newlabel" in pl.read_parquet(site.root / "data/shop/raw_descriptors/labels.parquet")["id"].to_list()
    assert site.stale() == []
    # neither materialize nor dvc repro trains again, and nothing of the mode is left behind
    said = site.run("materialize")
    versioning.dvc(site.root, "repro")
    assert site.weights() == weights
    assert site.kept() == list(STAGES_RUN), said
    # a retraining learns anew what the refresh kept
    site.run("retrain")
    assert site.kept() == []
    assert site.weights() != weights
    assert site.stale() == []
    trained = site.weights()
    site.run("retrain")
    assert site.weights() == trained
    assert (site.root / "params.yaml").read_bytes() == settings


def in_process(site: Site, config: dict | None) -> Callable[[], None]:
    def run() -> None:
        from mufin_dagster import assets

        with dg.DagsterInstance.ephemeral() as instance:
            done = dg.materialize(
                assets.build(site.workspace, site.stages), instance=instance, run_config=config, raise_on_error=False
            )
            assert done.success, [event.step_failure_data for event in done.get_step_failure_events()]

    return run


@pytest.mark.timeout(900)
def test_jobs_requests_and_the_button(site: Site) -> None:
    """What the UI, the schedule and the sensor launch, by the config that each of them gives its run."""
    weights = site.weights()
    new_items(site.root)
    versioning.dvc(site.root, "add", "-q", "data/shop/catalog")
    asked = jobs.request(site.workspace, site.stages, "shop", jobs.REFRESH, None)
    assert asked.job_name == jobs.REFRESH
    assert asked.run_config == jobs.jobs(site.stages)[jobs.REFRESH].config == jobs.run_config(site.stages, jobs.REFRESH)
    in_process(site, asked.run_config)()
    assert (site.weights(), site.kept(), site.stale()) == (weights, list(STAGES_RUN), [])
    in_process(site, None)()  # the button
    assert (site.weights(), site.kept()) == (weights, list(STAGES_RUN))
    in_process(site, jobs.request(site.workspace, site.stages, "shop", jobs.RETRAIN, None).run_config)()
    assert site.kept() == []
    assert site.weights() != weights


def test_a_refresh_is_recorded_with_the_settings_that_were_learnt_with(site: Site) -> None:
    """A learning rate that changed since the training is not said to have made the kept weights."""
    weights = site.weights()
    site.setting("lr: 0.002\n", "lr: 0.004\n")
    assert site.stale() == ["pretrained_model@shop"]
    site.run("refresh")
    assert site.weights() == weights
    assert site.stale() == ["pretrained_model@shop"]
    assert lock_entry.settings(site.root, "pretrained_model@shop")["pretrain"]["lr"] == 0.002


def test_a_run_goes_on_with_the_settings_that_it_began_with(site: Site) -> None:
    """The file edited while a run is at its first stage: the later stages take the settings of the run's beginning."""
    new_items(site.root)
    env = versioning.environment(site.root)
    child = subprocess.Popen(
        [sys.executable, "-m", "mufin_dagster.cli", "materialize"], cwd=site.root, env=env, stdout=subprocess.PIPE
    )
    copies = site.root / "data/shop/.state/settings"
    before = set(copies.glob("*.yaml"))
    while child.poll() is None and set(copies.glob("*.yaml")) == before:
        time.sleep(0.1)
    site.setting("lr: 0.002\n", "lr: 0.004\n")
    out, _ = child.communicate()
    assert child.returncode == 0, out.decode()
    assert lock_entry.settings(site.root, "pretrained_model@shop")["pretrain"]["lr"] == 0.002
    assert site.stale() == ["pretrained_model@shop"]
    (copy,) = set(copies.glob("*.yaml")) - before
    run = run_settings.RunSettings(site.workspace, "shop", copy.relative_to(site.root))
    assert run.differences() == ["pretrain.lr: 0.002, params.yaml has 0.004"]


def test_ctrl_c_leaves_params_whole(site: Site) -> None:
    settings = (site.root / "params.yaml").read_bytes()
    new_items(site.root)
    for seconds in (0.5, 4.0, 8.0):
        child = subprocess.Popen(
            [sys.executable, "-m", "mufin_dagster.cli", "refresh"],
            cwd=site.root,
            env=versioning.environment(site.root),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(seconds)
        os.killpg(child.pid, signal.SIGINT)
        child.wait()
        assert (site.root / "params.yaml").read_bytes() == settings


def test_a_mode_is_no_setting(site: Site) -> None:
    done = site.mufin("materialize", "-S", "pretrain.keep_weights=true")
    assert done.returncode == 2
    assert "mufin refresh -d shop" in done.stderr
    site.setting("lr: 0.002\n", "lr: 0.002\n  keep_weights: true\n")
    with pytest.raises(SettingError, match="belongs to a run"):
        load(site.root / "params.yaml", "shop")


def test_a_seed_is_of_one_dataset(project: Project) -> None:
    from mufin_dagster import params

    before = load(project.workspace.params, "two").seed
    params.override(project.workspace, "one", ["seed=77"])
    assert load(project.workspace.params, "one").seed == 77
    assert load(project.workspace.params, "two").seed == before


def test_what_a_version_kept_is_kept_again(tmp_path: Path) -> None:
    settings = load(REPOSITORY / "params.yaml", "demo")
    again = {run_mode.MODE: run_mode.AGAIN}
    assert run_mode.applied(settings, "pretrain", tmp_path, again) == settings
    run_mode.note(tmp_path)
    assert run_mode.applied(settings, "pretrain", tmp_path, again).pretrain.keep_weights


def test_the_lock_says_what_was_kept(site: Site) -> None:
    run_mode.note(site.root / "data/shop/pretrained_model")
    locked = pipeline.read_lock(site.root, site.stages)
    assert [address for address, told in locked.items() if told.kept] == ["pretrained_model@shop"]
    assert Workspace(site.root).path("shop", "pretrained_model").is_dir()
