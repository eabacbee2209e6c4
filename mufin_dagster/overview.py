"""What `mufin status` tells beside the stages: last runs, what is released, what is on, how old the reports are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mufin_dagster import home, pipeline, pointers, run_tags
from mufin_dagster.run_tags import JOB
from mufin_dagster.settings import automation
from mufin_dagster.status import State
from mufin_model.artefacts import Workspace

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun

RUNS = 5
"""Runs told."""
ALIVE_SECONDS = 120
"""Age of the daemon's last sign of life, above which it is not running; it gives one every 30 seconds."""
LOOKS = 2
"""Failed ones in a row that make a sensor or schedule fail; one alone may have met a code server that was starting."""
STARTERS = ("nightly", "new_data", "automation")
"""What brings reports up to date by itself."""


@dataclass(frozen=True)
class Run:
    """A run: what it was of, how it ended (in Dagster's words), when it began (ISO 8601, UTC) and its seconds."""

    run: str
    job: str
    dataset: str
    status: str
    began: str
    seconds: float | None


@dataclass(frozen=True)
class Overview:
    """All but the stages.

    Attributes:
        runs: the last ones, newest first.
        releases: dataset to the release that is served.
        on: name of each schedule and sensor, and whether it is on.
        failing: name of each that is on and failed at its last looks, and the error.
        daemon: whether the process that runs them gave a sign of life lately.
        ages: dataset to the hours since its report was last brought up to date, where the policy watches it.
        too_old: those of the datasets whose report fails the policy.
        other_files: stages whose files are not those that dvc.lock records.
        repaired: what a killed write of DVC had cut short and was repaired within a day.
    """

    runs: Sequence[Run]
    releases: dict[str, str]
    on: dict[str, bool]
    failing: dict[str, str]
    daemon: bool
    ages: dict[str, float]
    too_old: Sequence[str]
    other_files: Sequence[str] = ()
    repaired: str = ""


def overview(workspace: Workspace, datasets: Sequence[str] = ()) -> Overview:
    """Look at Dagster's records and at what is released, of all datasets or of some."""
    home.enter(workspace)
    from dagster import AssetKey, DagsterInstance

    from mufin_model.release.shelf import Shelf

    stages = [stage for stage in pipeline.load(workspace.root) if not datasets or stage.dataset in datasets]
    names = list(dict.fromkeys(stage.dataset for stage in stages))
    limit = automation(workspace.params).fresh_hours
    with DagsterInstance.get() as instance:
        ages = {}
        for stage in stages:
            event = instance.get_latest_materialization_event(AssetKey(list(stage.key)))
            if stage.meta.get("fresh") and event:
                ages[stage.dataset] = round((time.time() - event.timestamp) / 3600, 2)
        on = _on(instance)
        beats = instance.get_daemon_heartbeats().values()
        return Overview(
            runs=_runs(instance, datasets),
            releases={name: now.name for name in names if (now := Shelf(workspace, name).current())},
            on=on,
            failing={name: error for name, error in failing(instance).items() if on.get(name)},
            daemon=any(time.time() - beat.timestamp < ALIVE_SECONDS for beat in beats),
            ages=ages,
            too_old=[name for name, age in ages.items() if age > limit],
            other_files=pipeline.other_files(workspace.root, stages),
            repaired=pointers.repaired(workspace.root),
        )


def failing(instance: DagsterInstance) -> dict[str, str]:
    """Schedules and sensors that failed at each of their last LOOKS, and the last error's first line."""
    from dagster._core.scheduler.instigation import TickStatus

    ended = [TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE]
    found = {}
    for state in instance.all_instigator_state():
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=LOOKS, statuses=ended)
        if len(ticks) == LOOKS and all(tick.status == TickStatus.FAILURE for tick in ticks):
            error = ticks[0].error
            found[state.instigator_name] = error.message.strip().partition("\n")[0] if error else "no error told"
    return found


def attention(states: Sequence[State], told: Overview) -> list[str]:
    """What needs someone, a line each; nothing where all is well.

    A report's age counts only where something is on that would have renewed it.
    """
    found = [f"{one.dataset}/{one.noun} is {one.state}" for one in states if one.state != "fresh"]
    found += [f"{name}: {pipeline.OTHER_FILES}" for name in told.other_files]
    found += [told.repaired] if told.repaired else []
    newest: dict[str, Run] = {}
    for run in told.runs:
        newest.setdefault(run.dataset, run)
    found += [f"{run.job} of {name} failed (run {run.run})" for name, run in newest.items() if run.status == "FAILURE"]
    found += [f"{name} failed at its last looks: {error}" for name, error in told.failing.items()]
    on = [name for name in STARTERS if told.on.get(name)]
    if on:
        found += [f"the report of {name} is {told.ages[name]:.0f} hours old" for name in told.too_old]
        if not told.daemon:
            found.append(f"{', '.join(on)} on, but no daemon is running: `mufin ui` (docs/automation.md)")
    return found


def as_json(states: Sequence[State], told: Overview) -> dict[str, Any]:
    """All of it, for a program."""
    return {"stages": [asdict(one) for one in states], **asdict(told), "attention": attention(states, told)}


def show(states: Sequence[State], told: Overview) -> None:
    """Print what is beside the table of stages, and last what needs someone."""
    from rich.console import Console

    console = Console(highlight=False)

    def block(heading: str, lines: Sequence[str]) -> None:
        if lines:
            console.print(f"\n[bold]{heading}[/bold]")
            for line in lines:
                console.print(f"  {line}", markup=False, soft_wrap=True)

    block("last runs", [_line(run) for run in told.runs])
    block("released", [f"{name}  {release}" for name, release in told.releases.items()])
    block("report brought up to date", [f"{name}  {age:.1f} hours ago" for name, age in told.ages.items()])
    state = "running" if told.daemon else "not running"
    block(f"by itself (daemon {state})", [f"{'on ' if on else 'off'}  {name}" for name, on in told.on.items()])
    block("to look at", attention(states, told))


def _line(run: Run) -> str:
    seconds = f"{run.seconds:.0f} s" if run.seconds is not None else ""
    return f"{run.began}  {run.run}  {run.status.lower():9}  {run.job} of {run.dataset}  {seconds}".rstrip()


def _runs(instance: DagsterInstance, datasets: Sequence[str]) -> list[Run]:
    found = []
    # a run may be of several datasets, so that tags cannot filter them; a few pages are enough
    for record in instance.get_run_records(limit=RUNS * 10):
        run = record.dagster_run
        of = _datasets(run)
        if datasets and not set(of) & set(datasets):
            continue
        began = record.start_time or record.create_timestamp.timestamp()
        found.append(
            Run(
                run=run.run_id[:8],
                job=run.tags.get(JOB, run.job_name.strip("_").lower()),
                dataset=", ".join(of) or "?",
                status=run.status.value,
                began=datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds"),
                seconds=round(record.end_time - began, 1) if record.end_time else None,
            )
        )
    return found[:RUNS]


def _datasets(run: DagsterRun) -> list[str]:
    return sorted({*run_tags.datasets(run.tags), *(key.path[0] for key in run.asset_selection or ())})


def _on(instance: DagsterInstance) -> dict[str, bool]:
    """Each schedule and sensor: as someone turned it in the UI, or else as the settings have it."""
    from dagster._core.scheduler.instigation import InstigatorStatus

    from mufin_dagster.definitions import defs

    turned = {state.instigator_name: state.status for state in instance.all_instigator_state()}
    found = {}
    for one in (*(defs.schedules or ()), *(defs.sensors or ())):
        name = str(one.name)
        status = turned.get(name, InstigatorStatus.DECLARED_IN_CODE)
        by_default = one.default_status.value == InstigatorStatus.RUNNING.value
        found[name] = by_default if status == InstigatorStatus.DECLARED_IN_CODE else status == InstigatorStatus.RUNNING
    return found
