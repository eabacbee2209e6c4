"""The project's commands, as a person types them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from typer.testing import CliRunner

from mufin_dagster import claims, datasets, home, params, run_tags, status, versioning
from mufin_dagster.cli import app
from mufin_model.artefacts import aside
from mufin_model.config import read
from mufin_model.errors import CatalogError, DatasetError, MufinError

from .conftest import DATASETS, STEPS, Project
from .test_process import gone

IMAGES = {"image_paths": pl.List(pl.String)}


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    folder = tmp_path / "given"
    folder.mkdir()
    for name in ("items", "labels"):
        pl.DataFrame(
            {"id": ["a", "b"], "text": ["x", "y"], "image_paths": [[], []]}, schema_overrides=IMAGES
        ).write_parquet(folder / f"{name}.parquet")
    for name, item in (("train", "a"), ("test", "b")):
        pl.DataFrame({"item_id": [item], "label_id": ["b" if item == "a" else "a"]}).write_parquet(
            folder / f"{name}.parquet"
        )
    return folder


def test_add_gives_a_dataset_its_stages(project: Project, catalogue: Path):
    done = project.mufin("add", "shop", str(catalogue))
    assert done.returncode == 0, done.stderr
    assert (project.root / "data/shop/catalog.dvc").is_file()
    assert [stage.noun for stage in project.stages if stage.dataset == "shop"] == list(STEPS)
    assert {state.state for state in status.states(project.workspace, ["shop"])} == {"missing"}


@pytest.mark.parametrize("name", ["Shop", "1shop", "a-b", "../up", "", "one"])
def test_a_name_that_is_taken_or_not_allowed_is_refused(project: Project, catalogue: Path, name: str):
    before = (project.root / "params.yaml").read_text()
    with pytest.raises(DatasetError):
        datasets.add(project.workspace, name, catalogue)
    assert (project.root / "params.yaml").read_text() == before


def test_a_broken_catalogue_leaves_nothing_behind(project: Project, catalogue: Path):
    pl.DataFrame({"item_id": ["nobody"], "label_id": ["a"]}).write_parquet(catalogue / "train.parquet")
    done = project.mufin("add", "shop", str(catalogue))
    assert done.returncode == 2
    assert "nobody" in done.stderr
    assert not (project.root / "data" / "shop").exists()
    with pytest.raises(CatalogError):
        datasets.add(project.workspace, "shop", catalogue / "nowhere")


def test_a_failure_half_way_is_undone(project: Project, catalogue: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(params, "register", full)
    with pytest.raises(OSError, match="disk full"):
        datasets.add(project.workspace, "shop", catalogue)
    assert not (project.root / "data" / "shop").exists()
    assert read(project.workspace.params)["datasets"] == list(DATASETS)


def test_status_says_why(project: Project):
    project.setting("    ingest: {}\n    encode: {}", "    ingest: {image_size: 9}\n    encode: {}")
    found = {state.noun: state for state in status.states(project.workspace, ["one"])}
    assert found["letters"].state == "stale"
    assert "per_dataset.one.ingest" in found["letters"].why
    assert found["words"].why == "follows letters"
    assert found["book"].why == "follows report"
    assert found["book"].seconds is not None


def test_cancel_ends_the_command_and_leaves_the_earlier_artefact(project: Project):
    folder = project.root / "data" / "one" / "words"
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    child = subprocess.Popen(
        [sys.executable, "-m", "mufin_dagster.cli", "materialize", "words", "-d", "one", "-S", "pretrain.epochs=999"],
        cwd=project.root,
        env=versioning.environment(project.root),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    pid_file = project.root / "words.pid"
    deadline = time.monotonic() + 90
    while not pid_file.exists() or not pid_file.read_text():
        assert time.monotonic() < deadline
        assert child.poll() is None, child.stdout.read()
        time.sleep(0.2)
    os.kill(child.pid, signal.SIGTERM)
    told, _ = child.communicate(timeout=300)
    assert gone(int(pid_file.read_text()))
    assert child.returncode == 130, told
    assert "one/words: cancelled" in told
    assert "failed" not in told
    (run,) = runs(project)
    assert run.status == dg.DagsterRunStatus.CANCELED
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    assert after == before
    with aside(folder.parent, "words"):  # a command too slow to end well was killed: the next run tidies up
        pass
    assert not [path.name for path in folder.parent.glob(".words.*")]


def test_materialize_through_the_real_executor_and_instance(project: Project):
    """One dataset passes; the other's mistake is told, and what follows it does not run."""
    (project.root / "data" / "two" / "catalog" / "text.txt").write_text("7")
    done = project.mufin("materialize", "letters", "words", "--force")
    assert done.returncode == 1
    for line in ("one/letters: done in", "one/words: done in", "two/letters: failed in", "two/words: skipped"):
        assert line in done.stdout
    assert "CatalogError: a digit\n  where: text.txt, line 1\n" in done.stdout
    assert not versioning.status(project.root, "letters@one", "words@one")
    assert "next: mufin status -d one" in done.stdout
    (run,) = runs(project)
    assert run_tags.datasets(run.tags) == ["one", "two"]
    # by which the pages of Dagster find it
    assert run.tags_for_storage()[".dagster/repository"] == "__repository__@mufin"
    assert run.remote_job_origin.job_name == run.job_name == "materialize"


def test_a_run_in_a_shell_waits_for_the_run_of_the_same_dataset(project: Project):
    told: list[str] = []
    with claims.claimed(project.workspace, ["one"], "0123456789", "retrain", told.append):
        child = subprocess.Popen(
            [sys.executable, "-m", "mufin_dagster.cli", "materialize", "letters"],
            cwd=project.root,
            env=versioning.environment(project.root),
            stdout=subprocess.PIPE,
            text=True,
        )
        line = child.stdout.readline()
        assert line.startswith("one waits for run 01234567 (retrain, since 20"), line
        assert not (project.root / "data" / "two" / "letters").exists()
    rest, _ = child.communicate(timeout=300)
    assert child.returncode == 0, rest
    assert "two/letters: done in" in rest


def runs(project: Project) -> list[dg.DagsterRun]:
    with dg.DagsterInstance.from_config(home.prepare(project.workspace)["DAGSTER_HOME"]) as instance:
        return list(instance.get_runs())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-d", "on"], "did you mean 'one'?"),
        (["-d", "one", "word"], "did you mean 'words'?"),
        (["-d", "one", "-S", "mine.shortlst=2"], "did you mean 'shortlist'?"),
    ],
)
def test_a_slip_of_the_pen_is_told_before_anything_runs(project: Project, arguments: list[str], told: str):
    done = project.mufin("materialize", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert not (project.root / ".dagster_home").exists()


@pytest.mark.parametrize(
    "command",
    [
        *("status", "materialize", "refresh", "retrain", "validate", "releases", "rollback", "ingest", "pretrain"),
        *("serve", "backfill HEAD", "data history", "data commit -m x", "data diff HEAD"),
    ],
)
def test_an_unknown_dataset_is_a_mistake_everywhere(project: Project, monkeypatch: pytest.MonkeyPatch, command: str):
    git(project, "add", ".")
    git(project, "commit", "-qm", "all")
    monkeypatch.chdir(project.root)
    done = CliRunner().invoke(app, [*command.split(), "-d", "tow"])
    assert done.exit_code == 2, done.output
    assert "DatasetError: no dataset named 'tow'" in done.stderr
    assert "did you mean 'two'?" in done.stderr


def test_an_unknown_revision_names_the_nearest(project: Project, monkeypatch: pytest.MonkeyPatch):
    git(project, "add", ".")
    git(project, "commit", "-qm", "all")
    git(project, "tag", "v1.2")
    monkeypatch.chdir(project.root)
    for command in ("backfill v1.3", "data diff v1.3", "data verify v1.3", "data restore v1.3", "validate --rev v1.3"):
        done = CliRunner().invoke(app, command.split())
        assert done.exit_code == 2, done.output
        assert "did you mean 'v1.2'?" in done.stderr, command


def git(project: Project, *arguments: str) -> None:
    name = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *name, *arguments], cwd=project.root, check=True, capture_output=True)


def test_commits_at_once_wait_for_each_other(project: Project):
    addresses = [f"{noun}@one" for noun in STEPS]
    with ThreadPoolExecutor(len(addresses)) as pool:
        list(pool.map(lambda address: versioning.dvc(project.root, "commit", "-f", address), addresses))
    assert not [address for address in versioning.status(project.root) if "one" in address]


def test_what_dvc_says_is_kept_in_the_error(project: Project):
    with pytest.raises(MufinError, match="dvc commit failed") as told:
        versioning.dvc(project.root, "commit", "-f", "nothing@one")
    assert "nothing" in str(told.value)


def test_the_default_remote_takes_what_is_pushed():
    config = (Path(__file__).parents[2] / ".dvc" / "config").read_text()
    assert "remote = local" in config
    assert "url = ../data/.remote" in config


def test_the_web_interface_listens_on_this_machine_alone(project: Project, monkeypatch: pytest.MonkeyPatch):
    become: list[list[str]] = []

    def replaced(_: str, command: list[str], __: object) -> None:
        become.append(command)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execvpe", replaced)
    assert CliRunner().invoke(app, ["ui"]).exit_code == 0
    (command,) = become
    assert command[command.index("-h") + 1] == "127.0.0.1"
