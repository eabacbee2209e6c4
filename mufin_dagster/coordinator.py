"""The queue, which knows of every run which datasets it is of, however it was launched.

A button of the web interface and a backfill give a run no tags. Without them the queue's limit, one run of a dataset
at a time, would not hold for it.
"""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext

from mufin_dagster import run_tags
from mufin_dagster.claims import WAITS, Holder
from mufin_dagster.run_tags import BACKFILL, DATASET, JOB

UNDER_WAY = [
    *(dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING),
    dg.DagsterRunStatus.QUEUED,
]


class Coordinator(QueuedRunCoordinator):
    """Dagster's queue; a run is tagged with its datasets when it is submitted, and says whom it waits for."""

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        run = context.dagster_run
        datasets = run_tags.of_run(self._instance, run)
        known = run_tags.datasets(run.tags)
        if missing := [name for name in datasets if name not in known]:
            tags = {DATASET: datasets[0]} if len(datasets) == 1 else {f"{DATASET}.{name}": name for name in missing}
            self._instance.add_run_tags(run.run_id, tags)
        for name in datasets:
            if before := _before(self._instance, run, name):
                self._instance.report_engine_event(f"{name}{WAITS}{before}", run)
        return super().submit_run(context)


def _before(instance: dg.DagsterInstance, run: dg.DagsterRun, dataset: str) -> Holder | None:
    """The first run that is under way, or waits already, of a dataset."""
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNDER_WAY), ascending=True):
        other = record.dagster_run
        past = other.tags.get(JOB) == BACKFILL  # touches nothing of the present
        if other.run_id != run.run_id and not past and dataset in run_tags.datasets(other.tags):
            since = record.start_time or record.create_timestamp.timestamp()
            at = datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")
            return Holder(other.run_id, other.tags.get(JOB, other.job_name), at)
    return None
