"""One run of a dataset at a time: tags at submission, claims in the run's process, and whom a run waits for."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.run_coordinator import SubmitRunContext

from mufin_dagster import assets, claims, run_tags
from mufin_dagster.coordinator import Coordinator
from mufin_dagster.run_tags import BACKFILL, DATASET, JOB
from mufin_model.artefacts import Workspace

from .conftest import REPOSITORY, Project


class Interrupted(Exception):
    pass


def give_up(told: list[str]):
    """A wait that notes what it is told and ends at the first look."""

    def waits(line: str) -> None:
        if not line:
            raise Interrupted
        told.append(line)

    return waits


def test_a_second_run_waits_and_says_for_whom(tmp_path: Path):
    workspace, told = Workspace(tmp_path), []
    with claims.claimed(workspace, ["one"], "first", "retrain", told.append):
        for others in (["one"], ["two", "one"], ["one", "three"]):
            told.clear()
            with pytest.raises(Interrupted), claims.claimed(workspace, others, "second", "refresh", give_up(told)):
                raise AssertionError("two runs of a dataset at once")
            assert told == [f"one waits for {claims.holder(workspace, 'one')}"]
        with claims.claimed(workspace, ["two"], "other", "refresh", give_up(told)):
            assert claims.holder(workspace, "two").run == "other"
    with claims.claimed(workspace, ["one", "two"], "third", "refresh", give_up(told)):
        assert str(claims.holder(workspace, "one")).startswith("run third (refresh, since 20")
    assert claims.holder(workspace, "one") is None


def test_runs_over_several_datasets_do_not_wait_for_each_other_for_ever(tmp_path: Path):
    workspace, done = Workspace(tmp_path), []
    start = threading.Barrier(2)

    def run(name: str, datasets: list[str]) -> None:
        start.wait()
        for _ in range(3):
            with claims.claimed(workspace, datasets, name, "refresh", lambda _: None):
                done.append(name)

    threads = [
        threading.Thread(target=run, args=args, daemon=True) for args in (("a", ["one", "two"]), ("b", ["two", "one"]))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert sorted(done) == ["a"] * 3 + ["b"] * 3


def test_the_claim_of_a_killed_run_is_free(tmp_path: Path):
    code = (
        "import os, signal; from pathlib import Path; from mufin_dagster.claims import claimed\n"
        "from mufin_model.artefacts import Workspace\n"
        f"with claimed(Workspace(Path({str(tmp_path)!r})), ['one'], 'killed', 'retrain', print):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert "killed" in (tmp_path / "data/one/.state/run.lock").read_text()
    assert claims.holder(Workspace(tmp_path), "one") is None
    told: list[str] = []
    with claims.claimed(Workspace(tmp_path), ["one"], "next", "retrain", give_up(told)):
        assert told == []


@pytest.fixture
def queue(tmp_path: Path) -> dg.DagsterInstance:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        yield instance


def submitted(project: Project, instance: dg.DagsterInstance, *keys: str, **tags: str) -> dg.DagsterRun:
    """A run as a button launches it; without keys it is of the whole job."""
    stages = project.stages
    job = dg.Definitions(
        assets=assets.build(project.workspace, stages), jobs=[dg.define_asset_job("all", selection="*")]
    ).resolve_job_def("all")
    origin = launch_origin(project).get_job_origin("all")
    run = instance.create_run_for_job(
        job,
        tags=tags,
        asset_selection={dg.AssetKey.from_user_string(key) for key in keys} or None,
        remote_job_origin=origin,
        job_code_origin=None,
    )
    assert isinstance(instance.run_coordinator, Coordinator)
    return instance.run_coordinator.submit_run(SubmitRunContext(run, workspace=None))


def launch_origin(project: Project):
    from dagster._core.remote_origin import RemoteRepositoryOrigin
    from dagster._core.workspace.load import location_origins_from_yaml_paths

    (location,) = location_origins_from_yaml_paths([str(project.root / "workspace.yaml")])
    return RemoteRepositoryOrigin(location, "__repository__")


def engine(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    events = [entry.dagster_event for entry in instance.all_logs(run.run_id) if entry.dagster_event]
    return [event.message for event in events if event.event_type_value == "ENGINE_EVENT"]


def test_a_run_is_tagged_when_it_is_submitted(project: Project, queue: dg.DagsterInstance):
    first = submitted(project, queue, "one/letters", "one/words")
    assert first.status == dg.DagsterRunStatus.QUEUED
    assert first.tags[DATASET] == "one"
    other = submitted(project, queue, "two/letters")
    assert other.tags[DATASET] == "two"
    assert engine(queue, other) == []
    second = submitted(project, queue, "one/book")
    assert second.tags[DATASET] == "one"
    (told,) = engine(queue, second)
    assert told.startswith(f"one waits for run {first.run_id[:8]} (all, since 20")


@pytest.mark.parametrize("keys", [(), ("one/letters", "two/letters")])
def test_a_run_of_several_datasets_is_tagged_with_each(project, queue, keys):
    run = submitted(project, queue, *keys)
    assert run_tags.datasets(run.tags) == ["one", "two"]
    assert DATASET not in run.tags
    (told,) = engine(queue, submitted(project, queue, "two/book"))
    assert told.startswith(f"two waits for run {run.run_id[:8]}")


def test_a_past_version_made_again_holds_nobody_back(project: Project, queue: dg.DagsterInstance):
    submitted(project, queue, "one/letters", **{JOB: BACKFILL, f"{DATASET}.one": "one"})
    assert engine(queue, submitted(project, queue, "one/letters")) == []
