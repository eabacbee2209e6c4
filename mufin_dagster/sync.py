"""What was done in a shell, told to Dagster: `dvc repro`, `dvc checkout`, `dvc add`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg

from mufin_dagster import assets, pipeline
from mufin_dagster.describe import describe
from mufin_dagster.pipeline import Stage
from mufin_model.artefacts import Workspace

SYNC_SECONDS = 15


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
        stages = pipeline.load(workspace.root)
        events = outside_events(context.instance, workspace, stages)
        if events:
            return dg.SensorResult(asset_events=events)
        other = pipeline.other_files(workspace.root, stages)
        if other:
            return dg.SkipReason(f"{', '.join(other)}: {pipeline.OTHER_FILES}")
        return dg.SkipReason("Dagster knows all that DVC recorded")

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
    """What DVC has recorded and Dagster does not know yet, of stages whose files are those recorded."""
    catalogs = [
        assets.catalog_event(instance, workspace, dataset) for dataset in dict.fromkeys(s.dataset for s in stages)
    ]
    events = [event for event in catalogs if event]
    locked = pipeline.read_lock(workspace.root, stages)
    other = set(pipeline.other_files(workspace.root, stages))
    for stage in stages:
        if stage.address not in locked or stage.address in other:
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
