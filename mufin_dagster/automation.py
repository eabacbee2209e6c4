"""What starts runs by itself: the clock, new data, and a changed input. Off until someone turns it on.

nightly     retrains each dataset by the clock
new_data    a catalogue's pointer changed (mufin add --replace, dvc add, git pull): refresh, or retrain
automation  an artefact changed: what depends on it, and nothing else
versions    after a run that passed: its pointers committed, where the settings want it
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import dagster as dg

from mufin_dagster import jobs, pipeline
from mufin_dagster.jobs import REFRESH, RETRAIN
from mufin_dagster.pipeline import Stage
from mufin_dagster.run_tags import DATASET, JOB
from mufin_dagster.settings import Automation
from mufin_dagster.sync import UNDER_WAY
from mufin_model.artefacts import Workspace

WATCH_SECONDS = 30


def schedule_status(settings: Automation) -> dg.DefaultScheduleStatus:
    return dg.DefaultScheduleStatus.RUNNING if settings.enabled else dg.DefaultScheduleStatus.STOPPED


def sensor_status(settings: Automation) -> dg.DefaultSensorStatus:
    return dg.DefaultSensorStatus.RUNNING if settings.enabled else dg.DefaultSensorStatus.STOPPED


def nightly(
    workspace: Workspace, settings: Automation, loaded: Sequence[Stage], retrain: dg.UnresolvedAssetJobDefinition
) -> dg.ScheduleDefinition:
    """The retraining by the clock, one run a dataset of those that the code location was `loaded` with."""

    @dg.schedule(
        name="nightly",
        job=retrain,
        cron_schedule=settings.retrain,
        execution_timezone=settings.timezone,
        default_status=schedule_status(settings),
        description="Retrains each dataset; automation.retrain in params.yaml sets the hour.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        stages = pipeline.load(workspace.root)
        at = context.scheduled_execution_time.isoformat()
        datasets = dict.fromkeys(stage.dataset for stage in loaded)
        return [jobs.request(workspace, stages, name, RETRAIN, f"{at} {name}") for name in datasets]

    return schedule


def new_data(
    workspace: Workspace,
    settings: Automation,
    loaded: Sequence[Stage],
    targets: Sequence[dg.UnresolvedAssetJobDefinition],
) -> dg.SensorDefinition:
    """A run for each dataset whose catalogue is newer than what was ingested.

    A version is asked for once: one that broke a rule is not tried again until it is replaced. A run of the dataset
    under way is waited for.
    """

    @dg.sensor(
        name="new_data",
        jobs=targets,
        minimum_interval_seconds=WATCH_SECONDS,
        default_status=sensor_status(settings),
        description="A new DVC version of a catalogue starts a refresh (or what automation.new_data says).",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        stages = pipeline.load(workspace.root)
        # `count` makes each request's key its own: the same version may come back after another
        asked: dict[str, str] = json.loads(context.cursor or "{}")
        count = int(asked.get("", "0"))
        busy = {run.tags.get(DATASET) for run in context.instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY))}
        requests = []
        # a dataset added since the code location was loaded has no assets to run yet
        assets = {stage.dataset for stage in loaded}
        behind = {name: version for name, version in jobs.behind(workspace, stages).items() if name in assets}
        for dataset, version in behind.items():
            if asked.get(dataset) == version or dataset in busy:
                continue
            count += 1
            requests.append(jobs.request(workspace, stages, dataset, settings.new_data, f"{count} {dataset} {version}"))
            asked[dataset] = version
        asked = {name: version for name, version in asked.items() if name in behind} | {"": str(count)}
        told = dg.SkipReason("every catalogue is taken up, or its run is asked for") if not requests else None
        return dg.SensorResult(run_requests=requests, skip_reason=told, cursor=json.dumps(asked))

    return sensor


def changed_inputs(settings: Automation) -> dg.AutomationConditionSensorDefinition:
    """Runs what the conditions ask for. Catalogues are left to `new_data`, which chooses the job."""
    return dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.all(),
        default_status=sensor_status(settings),
        run_tags={JOB: "automation"},
        description="A changed artefact makes what depends on it anew, and nothing else.",
    )


def versions(workspace: Workspace, settings: Automation) -> dg.SensorDefinition:
    """A version of the data after each automatic run that passed, so that it can be gone back to or rebuilt."""

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        name="versions",
        minimum_interval_seconds=WATCH_SECONDS,
        default_status=sensor_status(settings) if settings.commit else dg.DefaultSensorStatus.STOPPED,
        description="Commits params.yaml, dvc.lock and the catalogue's pointer after a refresh or retraining.",
    )
    def sensor(context: dg.RunStatusSensorContext) -> None:
        from mufin_dagster.data_versions import commit

        run = context.dagster_run
        dataset, job = run.tags.get(DATASET), run.tags.get(JOB)
        if dataset is None or job not in (REFRESH, RETRAIN):
            # No SkipReason: a tick looks at several runs, and one that skips beside one that does not fails for ever.
            context.log.info("a run by hand: its owner commits")
            return
        made = commit(workspace, f"{job} {dataset}: run {run.run_id[:8]}", [dataset])
        context.log.info(f"version {made[:10]}" if made else "nothing has changed since the last version")

    return sensor
