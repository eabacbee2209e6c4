"""`mufin status`: what needs someone, and an exit code that says whether anything does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, TickData, TickStatus
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._utils.error import SerializableErrorInfo

from mufin_dagster import home
from mufin_dagster.overview import Overview, Run, attention, failing
from mufin_dagster.run_tags import DATASET, JOB
from mufin_dagster.status import State

from .conftest import Project

FRESH = State("one", "report", "fresh", "", "12345678", 1.0)
CALM = Overview(runs=[], releases={}, on={"nightly": True}, failing={}, daemon=True, ages={"one": 5.0}, too_old=[])


def run(status: str, dataset: str = "one", name: str = "1") -> Run:
    return Run(name, "refresh", dataset, status, "2026-01-01T00:00:00+00:00", 1.0)


@pytest.mark.parametrize(
    ("state", "told", "lines"),
    [
        (FRESH, CALM, []),
        (replace(FRESH, state="stale"), CALM, ["one/report is stale"]),
        (FRESH, replace(CALM, runs=[run("FAILURE"), run("SUCCESS")]), ["refresh of one failed (run 1)"]),
        (FRESH, replace(CALM, runs=[run("SUCCESS"), run("FAILURE")]), []),
        (FRESH, replace(CALM, runs=[run("SUCCESS"), run("FAILURE", "two")]), ["refresh of two failed (run 1)"]),
        (FRESH, replace(CALM, ages={"one": 31.0}, too_old=["one"]), ["the report of one is 31 hours old"]),
        (FRESH, replace(CALM, ages={"one": 31.0}, too_old=["one"], on={"nightly": False}), []),
        (FRESH, replace(CALM, failing={"nightly": "E: no"}), ["nightly failed at its last looks: E: no"]),
        (FRESH, replace(CALM, daemon=False, on={"failures": True, "nightly": False}), []),
    ],
)
def test_what_needs_someone(state: State, told: Overview, lines: list[str]):
    assert attention([state], told) == lines


def test_a_schedule_without_a_daemon_needs_someone():
    (line,) = attention([FRESH], replace(CALM, daemon=False))
    assert line.startswith("nightly on, but no daemon is running")


def test_status_as_a_script_reads_it(project: Project):
    project.setting("  enabled: false ", "  enabled: true ")
    with dg.DagsterInstance.from_config(home.prepare(project.workspace)["DAGSTER_HOME"]) as instance:
        failed = instance.create_run_for_job(
            dg.job(name="work")(lambda: None),
            tags={DATASET: "two", JOB: "refresh"},
            status=dg.DagsterRunStatus.STARTED,
        )
        instance.report_run_failed(failed)
        old = dg.AssetMaterialization(["one", "report"])
        instance.report_runless_asset_event(old)
    done = project.mufin("status", "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert {one["state"] for one in told["stages"] if one["dataset"] == "one"} == {"fresh"}
    assert {one["state"] for one in told["stages"] if one["dataset"] == "two"} == {"missing"}
    assert told["runs"][0] | {"began": "", "seconds": 0} == {
        "run": failed.run_id[:8],
        "job": "refresh",
        "dataset": "two",
        "status": "FAILURE",
        "began": "",
        "seconds": 0,
    }
    assert told["on"]["nightly"] is True
    assert told["on"]["failures"] is True
    assert told["on"]["versions"] is False
    assert told["daemon"] is False
    assert f"refresh of two failed (run {failed.run_id[:8]})" in told["attention"]


def test_a_sensor_that_failed_at_its_last_looks_is_told(tmp_path: Path):
    instance = dg.DagsterInstance.local_temp(str(tmp_path))
    target = LoadableTargetOrigin(python_file="x.py")
    repository = RemoteRepositoryOrigin(InProcessCodeLocationOrigin(target, location_name="here"), "__repository__")
    for name in ("sound", "once", "broken"):
        origin = repository.get_instigator_origin(name)
        state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING)
        instance.add_instigator_state(state)
        looks = {"sound": "SKIPPED SUCCESS", "once": "FAILURE SUCCESS FAILURE", "broken": "SUCCESS FAILURE FAILURE"}
        for at, status in enumerate(looks[name].split()):
            error = SerializableErrorInfo(f"Error: {at}\nin a file", [], "Error") if status == "FAILURE" else None
            tick = TickData(
                state.instigator_origin_id,
                name,
                InstigatorType.SENSOR,
                TickStatus[status],
                1000.0 + at,
                run_ids=[],
                error=error,
                selector_id=state.selector_id,
            )
            instance.create_tick(tick)
    assert failing(instance) == {"broken": "Error: 2"}
