"""Steps on a real Ray cluster of this machine: a head without a GPU, two workers with a declared GPU each."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mufin_dagster import cluster, execution, pipeline
from mufin_dagster.travel import Store
from mufin_model.errors import SettingError

from .conftest import EPOCHS, REPOSITORY, Project

pytest.importorskip("ray")
GIGABYTE = 10**9


class Nodes:
    """The cluster, and which of its nodes works in which folder."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        from ray.cluster_utils import Cluster

        self.folder, self.environment = folder, environment
        self.cluster = Cluster()
        self.cluster.add_node(num_cpus=2, num_gpus=0, include_dashboard=False, **self._small())
        self.workers: dict[str, Any] = {}

    def add(self, name: str, **resources: int) -> None:
        scratch = self.folder / name
        scratch.mkdir(parents=True)
        env = {**self.environment, "MUFIN_SCRATCH": str(scratch)}
        self.workers[str(scratch)] = self.cluster.add_node(env_vars=env, **resources, **self._small())

    def kill(self, scratch: str) -> None:
        self.cluster.remove_node(self.workers.pop(scratch), allow_graceful=False)

    def _small(self) -> dict[str, int]:
        return {"object_store_memory": 100_000_000, "memory": 2 * GIGABYTE}


@pytest.fixture
def nodes(tmp_path: Path, s3: str) -> Iterator[Nodes]:
    made = Nodes(tmp_path / "scratch", {name: os.environ[name] for name in os.environ if name.startswith("AWS_")})
    for name in ("first", "second"):
        made.add(name, num_cpus=2, num_gpus=1)
    yield made
    import ray

    ray.shutdown()
    made.cluster.shutdown()


def told(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    return [entry.user_message for entry in instance.all_logs(run_id)]


def failures(done: dg.ExecuteInProcessResult) -> list[str]:
    return [str(event.step_failure_data.error) for event in done.get_step_failure_events()]


def epochs(project: Project, noun: str) -> list[list[str | None]]:
    return json.loads((project.workspace.path("one", noun) / "epochs.json").read_text())["epochs"]


def test_steps_land_where_their_need_is_and_outlive_a_worker(
    project: Project, instance: dg.DagsterInstance, nodes: Nodes, s3: str
) -> None:
    address = nodes.cluster.address

    # a shared folder: the worker sees the project under the same path
    project.set(target="ray", ray=address, wait=60)
    done = project.materialize("letters", instance)
    assert done.success, failures(done)
    ((_, gpu, ranks),) = epochs(project, "letters")
    assert (gpu, ranks) in {("", "1"), (None, "1")}
    assert {path.name for path in project.workspace.dataset("one").iterdir()} >= {"letters", "catalog"}

    # a need that no node has is said, and no step waits for ever
    project.set(target="ray", ray=address, wait=1)
    lines: list[str] = []
    ended = execution.run(project.workspace, project.stage("pairs"), {}, project.workspace.params, lines.append)
    assert ended.code == cluster.GONE
    assert "no 1 node(s) of the cluster have 1 CPU, 0.1 GB, 2 GPU" in lines[0]

    # one training over two nodes: each knows its place, and they meet
    project.set(target="ray", ray=address, wait=60)
    done = project.materialize("joint", instance)
    assert done.success, failures(done)
    places = epochs(project, "joint")
    assert {Path(scratch).name for scratch, _, _ in places} == {"first", "second"}
    assert [(gpu, rank) for _, gpu, rank in places] == [("0", "0"), ("0", "1")]

    # by URL, and the node that trains is killed in the midst of it
    project.set(target="ray", ray=address, wait=60, work=s3, checkpoint=1)
    killed: list[str] = []

    def kill() -> None:
        checkpoints = Store(f"{s3}/checkpoints/one/words")
        while not (digest := checkpoints.named("last")):
            time.sleep(0.2)
        found = project.root.parent / "seen"
        checkpoints.fetch(digest, found)
        killed.append(json.loads((found / "checkpoint.pt").read_text())[0][0])
        nodes.kill(killed[0])

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    done = project.materialize("words", instance)
    killer.join(30)
    lines = told(instance, done.run_id)
    assert done.success, failures(done)
    trained = epochs(project, "words")
    first = [place for place, _, _ in trained if place == killed[0]]
    assert 1 <= len(first) < EPOCHS == len(trained)
    (other,) = {place for place, _, _ in trained} - set(killed)
    assert {Path(killed[0]).name, Path(other).name} == {"first", "second"}  # never the node without a GPU
    assert {(gpu, ranks) for _, gpu, ranks in trained} == {("0", "1")}
    text = "\n".join(lines)
    assert "from epoch 0" in text
    assert f"from epoch {len(first)}" in text
    retried = [event for event in done.all_events if event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY]
    assert len(retried) == 1
    assert Store(f"{s3}/checkpoints/one/words").named("last") is None  # nothing left to resume
    (made,) = done.get_asset_materialization_events()
    assert made.materialization.metadata["seconds"].value >= 1  # as the worker noted


def test_what_belongs_to_this_machine_stays_on_it(project: Project) -> None:
    project.set(target="ray", ray="127.0.0.1:1", work="file:///nowhere")
    ended = execution.run(project.workspace, project.stage("shelf"), {}, project.workspace.params, print)
    assert ended.code == 0, ended.tail
    assert project.workspace.path("one", "shelf").is_dir()


def test_releases_meet_where_they_are_kept() -> None:
    stages = [stage for stage in pipeline.load(REPOSITORY) if stage.meta.get("here")]
    assert {stage.noun for stage in stages} == {"released_model"}


def test_no_cluster_is_a_users_mistake(project: Project) -> None:
    project.set(target="ray", ray="127.0.0.1:1")
    with pytest.raises(SettingError, match="no Ray cluster at"):
        execution.run(project.workspace, project.stage("letters"), {}, project.workspace.params, print)
