"""Runs whose process was lost, seen by a lock that ends with it.

Dagster's own launcher does not ask whether the process of a run lives: one that went with its machine or container
would stay "started" for ever, and what waits for it would wait. So a run's executor holds a lock on a file of its own
in DAGSTER_HOME until its process ends, however that ends. The daemon (`run_monitoring` in dagster.yaml) tries the lock:
where it can be had, nobody holds it, the run has failed, and `run_retries` goes on with it.

On a file, not a process id: webserver, daemon and runs may be in containers that share no more than a folder.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import dagster as dg
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from mufin_dagster.home import LAUNCH
from mufin_model import owners

if TYPE_CHECKING:
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan
    from dagster._core.execution.retries import RetryMode

FOLDER = "alive"
BEGUN_SECONDS = 120
"""After its start a run without a file is lost: its process ended before the executor began."""

_held: list[IO[str]] = []
"""Open until this process ends: a lock let go with the last step would be free before the run's end is recorded."""


class Launcher(DefaultRunLauncher):
    """Dagster's launcher, which also sees that the process of a run is gone."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        path = _path(self._instance, run.run_id)
        if path.is_file():
            return _found(_free(path))
        # of another executor, in a notebook for one, nothing is known
        ours = GRPC_INFO_TAG in run.tags or LAUNCH in run.tags
        record = self._instance.get_run_record_by_id(run.run_id)
        began = record.start_time if record else None
        return _found(ours and began is not None and time.time() - began > BEGUN_SECONDS)


class Seen(dg.Executor):
    """An executor whose runs can be seen to live."""

    def __init__(self, inner: dg.Executor) -> None:
        self._inner = inner

    @property
    def retries(self) -> RetryMode:
        return self._inner.retries

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        _hold(plan_context.instance, plan_context.run_id)
        yield from self._inner.execute(plan_context, execution_plan)


def wrapped(definition: dg.ExecutorDefinition, wrapper: Callable[[dg.Executor], dg.Executor]) -> dg.ExecutorDefinition:
    """The executor, each one that it makes in a wrapper."""
    create = definition.executor_creation_fn
    assert create is not None
    return dg.ExecutorDefinition(
        name=definition.name,
        config_schema=definition.config_schema,  # type: ignore[arg-type]  # it takes what it gives
        requirements=definition.get_requirements,
        executor_creation_fn=lambda context: wrapper(create(context)),
    )


def _path(instance: dg.DagsterInstance, run_id: str) -> Path:
    return Path(instance.root_directory) / FOLDER / run_id


def _hold(instance: dg.DagsterInstance, run_id: str) -> None:
    """Take the run's lock, and remove the files of runs that are over."""
    path = _path(instance, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in path.parent.glob("[!.]*"):
        run = instance.get_run_by_id(other.name)
        if run is None or run.is_finished:
            other.unlink(missing_ok=True)
    aside = path.with_name(f".{run_id}.{owners.token()}")
    file = aside.open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    os.replace(aside, path)  # never there without its lock
    _held.append(file)


def _free(path: Path) -> bool:
    with path.open("r+") as file:  # NFS locks only what may be written
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _found(lost: bool) -> CheckRunHealthResult:
    if lost:
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its process is gone")
    return CheckRunHealthResult(WorkerStatus.RUNNING)
