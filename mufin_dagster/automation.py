"""What runs by itself: the nightly retraining, and the sensor that tells Dagster what DVC did outside of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import dagster as dg

from mufin_dagster import assets, pipeline
from mufin_dagster.describe import describe
from mufin_dagster.pipeline import Stage
from mufin_model.artefacts import Workspace

SYNC_SECONDS = 15


def retrain() -> dg.UnresolvedAssetJobDefinition:
    """Every stage of every dataset with its checks; what DVC finds up to date is passed over."""
    return dg.define_asset_job(
        "retrain", selection=dg.AssetSelection.all(), description="Bring every dataset up to date."
    )


def nightly(job: dg.UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """The retraining by the clock; off until someone turns it on. MUFIN_RETRAIN_CRON sets the hour."""
    return dg.ScheduleDefinition(
        name="nightly",
        job=job,
        cron_schedule=os.environ.get("MUFIN_RETRAIN_CRON", "0 3 * * *"),
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Retrain every night. Turn it on here; MUFIN_RETRAIN_CRON moves it.",
    )


def dvc_lock_sync(workspace: Workspace) -> dg.SensorDefinition:
    """After `dvc repro`, `dvc checkout` or `dvc add` in a shell: the same events in Dagster, without a run."""

    @dg.sensor(
        name="dvc_lock_sync",
        minimum_interval_seconds=SYNC_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reports what DVC did outside Dagster, so that both call the same stages stale.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if context.instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY), limit=1):
            return dg.SkipReason("a run is under way and reports what it does itself")
        events = outside_events(context.instance, workspace, pipeline.load(workspace.root))
        return dg.SensorResult(asset_events=events) if events else dg.SkipReason("Dagster knows all that DVC recorded")

    return sensor


UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def outside_events(
    instance: dg.DagsterInstance, workspace: Workspace, stages: Sequence[Stage]
) -> list[dg.AssetMaterialization]:
    """What DVC has recorded and Dagster does not know yet."""
    catalogs = [
        assets.catalog_event(instance, workspace, dataset) for dataset in dict.fromkeys(s.dataset for s in stages)
    ]
    events = [event for event in catalogs if event]
    locked = pipeline.read_lock(workspace.root, stages)
    for stage in stages:
        if stage.address not in locked:
            continue
        tags = assets.event_tags(stage, stages, locked)
        event = instance.get_latest_materialization_event(assets.key(stage))
        if event and _versions(event.asset_materialization.tags) == _versions(tags):  # type: ignore[union-attr]
            continue
        metadata = {**describe(workspace, stage), "ran": "outside Dagster"}
        events.append(dg.AssetMaterialization(assets.key(stage), metadata=metadata, tags=tags))
    return events


def _versions(tags: Mapping[str, str] | None) -> dict[str, str]:
    """The tags that say what a result was made of; pointers to events are Dagster's own affair."""
    prefixes = ("dagster/data_version", "dagster/code_version", "dagster/input_data_version/")
    return {name: value for name, value in (tags or {}).items() if name.startswith(prefixes)}
