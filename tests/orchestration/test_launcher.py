"""Whether the process of a run lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from mufin_dagster import launcher

from .conftest import REPOSITORY

HOLD = """
import sys, time
import dagster as dg
from mufin_dagster import launcher
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    launcher._hold(instance, sys.argv[2])
    print("held", flush=True)
    time.sleep(100)
"""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """With the project's own dagster.yaml."""
    (tmp_path / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


def begun(instance: dg.DagsterInstance, tags: dict[str, str], ago: float = 0) -> dg.DagsterRun:
    run = instance.create_run_for_job(dg.job(name="work")(lambda: None), tags=tags)
    event = dg.DagsterEvent(event_type_value="PIPELINE_START", job_name="work")
    instance.report_dagster_event(event, run.run_id, timestamp=time.time() - ago)
    return run


def test_a_run_lives_as_long_as_its_process(instance: dg.DagsterInstance) -> None:
    run = begun(instance, {GRPC_INFO_TAG: "{}"}, ago=1000)
    command = [sys.executable, "-c", HOLD, instance.root_directory, run.run_id]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    for _ in range(2):
        assert instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.NOT_FOUND
    # once it is over, the next run removes its file
    instance.report_run_failed(run)
    launcher._hold(instance, begun(instance, {}).run_id)
    assert run.run_id not in os.listdir(Path(instance.root_directory) / launcher.FOLDER)


@pytest.mark.parametrize(
    ("tags", "ago", "status"),
    [
        ({GRPC_INFO_TAG: "{}"}, 0, WorkerStatus.RUNNING),  # its executor is about to begin
        ({GRPC_INFO_TAG: "{}"}, 1000, WorkerStatus.NOT_FOUND),
        ({launcher.LAUNCH: "x"}, 1000, WorkerStatus.NOT_FOUND),
        ({}, 1000, WorkerStatus.RUNNING),  # somebody else's
    ],
)
def test_a_run_without_a_file(
    instance: dg.DagsterInstance, tags: dict[str, str], ago: float, status: WorkerStatus
) -> None:
    assert instance.run_launcher.check_run_worker_health(begun(instance, tags, ago)).status == status
