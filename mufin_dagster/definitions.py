"""The code location: assets, checks, jobs, schedule, sensors and executor put together.

Loaded by workspace.yaml. Imports neither torch nor Great Expectations: a step that needs them does.
"""

from __future__ import annotations

import dagster as dg

from mufin_dagster import (
    assets,
    automation,
    backfill,
    checks,
    drops,
    execution,
    failures,
    jobs,
    pipeline,
    release_check,
    signatures,
)
from mufin_dagster import settings as automation_settings
from mufin_dagster.sync import dvc_lock_sync
from mufin_model.artefacts import Workspace

workspace = Workspace.find()
settings = automation_settings.automation(workspace.params)
stages = pipeline.load(workspace.root)
asset_jobs = jobs.jobs(stages)
asset_checks = [
    *checks.build(stages),
    *signatures.build(workspace, stages, settings),
    *release_check.build(workspace, stages, settings),
]
take_in = [drops.job(workspace, settings)] if settings.drop_folder else []

defs = dg.Definitions(
    assets=assets.build(workspace, stages),
    asset_checks=asset_checks,
    jobs=[*asset_jobs.values(), *take_in, backfill.job(workspace)],
    schedules=[automation.nightly(workspace, settings, stages, asset_jobs[jobs.RETRAIN])],
    sensors=[
        dvc_lock_sync(workspace),
        automation.new_data(workspace, settings, stages, list(asset_jobs.values())),
        automation.changed_inputs(settings),
        automation.versions(workspace, settings),
        *(drops.sensor(workspace, settings, job) for job in take_in),
        failures.sensor(settings),
    ],
    executor=execution.executor(execution.execution(workspace.params), with_checks=bool(asset_checks)),
)


def everything() -> dg.JobDefinition:
    """The job of all assets and checks; `mufin materialize` runs a part of it."""
    return defs.resolve_job_def(jobs.MATERIALIZE)


def retrain() -> dg.JobDefinition:
    """The job of that name; `mufin retrain` runs it."""
    return defs.resolve_job_def(jobs.RETRAIN)


def refresh() -> dg.JobDefinition:
    """The job of that name; `mufin refresh` runs it."""
    return defs.resolve_job_def(jobs.REFRESH)
