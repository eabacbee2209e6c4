"""What starts runs by itself, and what it asks for."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from mufin_dagster import assets, automation, jobs, pipeline, run_tags, settings, sync, versioning
from mufin_dagster.settings import Automation
from mufin_model import run_mode
from mufin_model.artefacts import Workspace
from mufin_model.config import KEEPS, load
from mufin_model.errors import SettingError

from .conftest import REPOSITORY, STEPS, Project


@pytest.fixture(scope="module")
def stages() -> tuple[pipeline.Stage, ...]:
    """The product's own, of one dataset."""
    return tuple(stage for stage in pipeline.load(REPOSITORY) if stage.dataset == "demo")


def change(project: Project, dataset: str, text: str) -> None:
    """A new version of a catalogue, recorded as `mufin add --replace` does."""
    (project.root / "data" / dataset / "catalog" / "text.txt").write_text(text)
    versioning.record_catalog(project.workspace, dataset)


def report(project: Project, instance: dg.DagsterInstance) -> None:
    """Tell Dagster what DVC recorded."""
    for event in sync.outside_events(instance, project.workspace, project.stages):
        instance.report_runless_asset_event(event)


class Conditions:
    """Ticks of the sensor `automation`."""

    def __init__(self, project: Project, instance: dg.DagsterInstance) -> None:
        self.project, self.instance = project, instance
        self.cursor: object = None

    def tick(self) -> set[str]:
        """The assets that the conditions ask for now."""
        told = dg.evaluate_automation_conditions(
            defs=self.project.definitions(), instance=self.instance, cursor=self.cursor
        )
        self.cursor = told.cursor
        return {result.key.to_user_string() for result in told.results if result.true_subset.size}


def test_a_changed_input_refreshes_what_depends_on_it_and_nothing_else(project: Project, instance: dg.DagsterInstance):
    report(project, instance)
    conditions = Conditions(project, instance)
    assert conditions.tick() == set()
    # made again with the same bytes: nothing follows
    assert project.materialize(instance, "one/letters", config={"force": True}).success
    assert conditions.tick() == set()
    # other bytes: what follows, once, and the other dataset not
    change(project, "one", "another text")
    assert project.materialize(instance, "one/letters").success
    assert conditions.tick() == {"one/words", "one/report", "one/book"}
    assert conditions.tick() == set()


def test_after_a_failure_nothing_is_made_of_half_new_inputs(project: Project, instance: dg.DagsterInstance):
    report(project, instance)
    conditions = Conditions(project, instance)
    conditions.tick()
    (project.root / "steps" / "words.py").write_text("raise RuntimeError('broken')")
    change(project, "one", "another text")
    done = project.materialize(instance, *(f"one/{noun}" for noun in STEPS))
    assert not done.success
    assert instance.get_latest_materialization_event(dg.AssetKey(["one", "letters"])).run_id == done.run_id
    assert conditions.tick() == set()


def test_a_catalogues_new_version_is_asked_for_once(project: Project, instance: dg.DagsterInstance):
    loaded = project.stages
    targets = list(jobs.jobs(loaded).values())
    sensor = automation.new_data(project.workspace, Automation(), loaded, targets)
    definitions = dg.Definitions(assets=assets.build(project.workspace, loaded), jobs=targets, sensors=[sensor])
    repository = definitions.get_repository_def()

    def tick(cursor: str | None) -> dg.SensorResult:
        return sensor.evaluate_tick(
            dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=repository)
        )

    first = tick(None)  # `two` was never ingested
    assert [request.tags[run_tags.DATASET] for request in first.run_requests] == ["two"]
    (request,) = first.run_requests
    assert request.asset_selection == [dg.AssetKey(["two", noun]) for noun in STEPS]
    assert request.tags["mufin/data"] == pipeline.catalog_version(project.root, "two")[:12]
    assert tick(first.cursor).run_requests == []
    change(project, "two", "7")
    second = tick(first.cursor)
    assert len(second.run_requests) == 1
    # its run fails: bad data are not tried again, whatever the number of looks
    cursor = second.cursor
    for _ in range(3):
        told = tick(cursor)
        assert told.run_requests == []
        cursor = told.cursor
    # back to what it was: asked for again, under a key of its own
    change(project, "two", "the text of two")
    third = tick(cursor)
    assert third.run_requests[0].run_key != first.run_requests[0].run_key
    # a run of the dataset is waited for
    change(project, "two", "once more")
    with_run = instance.create_run_for_job(
        dg.job(name="busy")(lambda: None), tags={run_tags.DATASET: "two"}, status=dg.DagsterRunStatus.STARTED
    )
    assert tick(third.cursor).run_requests == []
    instance.report_run_canceled(with_run)
    assert len(tick(third.cursor).run_requests) == 1


def test_a_dataset_that_the_code_location_does_not_know_is_left_out(project: Project, instance: dg.DagsterInstance):
    loaded = [stage for stage in project.stages if stage.dataset == "one"]
    sensor = automation.new_data(project.workspace, Automation(), loaded, list(jobs.jobs(loaded).values()))
    told = sensor.evaluate_tick(dg.build_sensor_context(instance=instance))
    assert told.run_requests == []


def test_the_schedule_retrains_each_dataset_at_its_hour(project: Project):
    chosen = Automation(retrain="30 2 * * 1", timezone="Europe/Berlin", enabled=True)
    loaded = project.stages
    retrain = jobs.jobs(loaded)[jobs.RETRAIN]
    nightly = automation.nightly(project.workspace, chosen, loaded, retrain)
    assert nightly.cron_schedule == "30 2 * * 1"
    assert nightly.execution_timezone == "Europe/Berlin"
    assert nightly.default_status == dg.DefaultScheduleStatus.RUNNING
    at = datetime(2026, 1, 5, 1, 30, tzinfo=UTC)
    definitions = dg.Definitions(assets=assets.build(project.workspace, loaded), jobs=[retrain], schedules=[nightly])
    context = dg.build_schedule_context(scheduled_execution_time=at, repository_def=definitions.get_repository_def())
    told = nightly.evaluate_tick(context).run_requests
    assert [request.tags[run_tags.DATASET] for request in told] == ["one", "two"]
    assert {request.tags[run_tags.JOB] for request in told} == {jobs.RETRAIN}
    assert len({request.run_key for request in told}) == 2


def test_a_version_is_committed_after_a_run_among_runs_by_hand(project: Project, instance: dg.DagsterInstance):
    loaded = project.stages
    subprocess.run(["git", "add", "-A"], cwd=project.root, check=True)
    subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "start"], cwd=project.root, check=True
    )
    sensor = automation.versions(project.workspace, Automation())

    def tick(cursor: str | None) -> dg.SensorResult:
        return sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor))

    def run(**tags: str) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            assets.build(project.workspace, loaded), selection="one/letters", instance=instance, tags=tags
        )

    first = tick(None)  # looks from here on
    change(project, "one", "another text")
    # one by hand, an automatic one, and one that no dataset is named for: all in the sensor's next look
    assert run(**{run_tags.DATASET: "one", run_tags.JOB: "materialize"}).success
    made = run(**{run_tags.DATASET: "one", run_tags.JOB: jobs.REFRESH})
    assert run().success
    told = tick(first.cursor)
    assert [reaction.error for reaction in told.dagster_run_reactions] == [None] * 3
    log = subprocess.run(["git", "log", "--format=%s"], cwd=project.root, capture_output=True, text=True)
    assert log.stdout.splitlines() == [f"refresh one: run {made.run_id[:8]}", "start"]
    # and the sensor went past them
    assert not tick(told.cursor).dagster_run_reactions


def test_all_is_off_by_default(project: Project):
    loaded = project.stages
    targets = jobs.jobs(loaded)
    off = Automation()
    nightly = automation.nightly(project.workspace, off, loaded, targets[jobs.RETRAIN])
    assert nightly.default_status == dg.DefaultScheduleStatus.STOPPED
    sensors = [
        automation.new_data(project.workspace, off, loaded, list(targets.values())),
        automation.changed_inputs(off),
        automation.versions(project.workspace, off),
    ]
    assert {sensor.default_status for sensor in sensors} == {dg.DefaultSensorStatus.STOPPED}
    assert settings.automation(REPOSITORY / "params.yaml") == off


def test_a_refresh_keeps_the_weights_and_a_retraining_does_not(stages, project: Project):
    settings = load(REPOSITORY / "params.yaml", "demo")
    for job, kept in ((jobs.REFRESH, True), (jobs.RETRAIN, False)):
        config = jobs.run_config(stages, job)["ops"]
        assert set(config) == {f"demo__{noun}" for noun in jobs.KEPT}
        assert {op["config"]["mode"] for op in config.values()} == {job}
        for verb, field in KEEPS.items():
            found = run_mode.applied(settings, verb, project.root / "nowhere", {run_mode.MODE: job})
            assert getattr(getattr(found, verb), field) is kept
    assert run_mode.applied(settings, "mine", project.root, {run_mode.MODE: jobs.REFRESH}) == settings


def test_without_weights_a_refresh_is_a_training(stages, tmp_path: Path):
    (tmp_path / "params.yaml").write_bytes((REPOSITORY / "params.yaml").read_bytes())
    workspace = Workspace(tmp_path)
    assert jobs.request(workspace, stages, "demo", jobs.REFRESH, None).job_name == jobs.RETRAIN
    for noun in jobs.KEPT:
        workspace.path("demo", noun).mkdir(parents=True)
    assert jobs.request(workspace, stages, "demo", jobs.REFRESH, None).job_name == jobs.REFRESH


def test_a_job_without_config_is_what_its_name_says(stages):
    assert jobs.jobs(stages)[jobs.REFRESH].config == jobs.run_config(stages, jobs.REFRESH)


def test_a_run_names_its_data_code_and_settings(project: Project, instance: dg.DagsterInstance):
    done = project.materialize(instance, "one/letters")
    told = instance.get_run_by_id(done.run_id).tags
    assert told["mufin/data.one"] == pipeline.catalog_version(project.root, "one")[:12]
    before = told["mufin/params.one"]
    project.setting("  one:\n    ingest: {}\n    encode: {}", "  one:\n    ingest: {image_size: 9}\n    encode: {}")
    after = run_tags.tags(project.workspace, ["one"])
    assert after["mufin/params"] != before
    assert after["mufin/dataset"] == "one"
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], cwd=project.root, check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], cwd=project.root, capture_output=True, text=True).stdout
    assert run_tags.code_version(project.root) == f"{head[:12]}+changes"  # dvc.yaml is not committed
    subprocess.run([*git, "add", "dvc.yaml"], cwd=project.root, check=True)
    subprocess.run([*git, "commit", "-q", "-m", "x"], cwd=project.root, check=True)
    assert len(run_tags.code_version(project.root)) == 12


def test_the_report_and_nothing_else_must_be_fresh(stages):
    made = assets.build(Workspace(REPOSITORY), stages)
    policies = {
        key.path[-1]: spec.freshness_policy
        for one in made
        if isinstance(one, dg.AssetsDefinition)
        for key, spec in one.specs_by_key.items()
    }
    assert [noun for noun, policy in policies.items() if policy] == ["eval_report"]
    policy = policies["eval_report"]
    assert policy.fail_window.to_timedelta().total_seconds() == 30 * 3600
    assert policy.warn_window.to_timedelta().total_seconds() == pytest.approx(27 * 3600)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"retrain": "sometimes"}, "no cron expression"),
        ({"retries": -1}, "automation.retries"),
        ({"nightly": True}, "automation.nightly"),
        ({"timezone": "Mars/Olympus"}, "no time zone"),
        ({"notify": ["pigeon"]}, "automation.notify.0"),
    ],
)
def test_a_wrong_setting_says_where(tmp_path: Path, section: dict[str, object], told: str):
    (tmp_path / "params.yaml").write_text(json.dumps({"automation": section}))
    with pytest.raises(SettingError, match=told):
        settings.automation(tmp_path / "params.yaml")
