"""`mufin materialize`: stages through Dagster, on its real instance and executor, one line a stage."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mufin_dagster import claims, home, params, pipeline, run_end
from mufin_dagster.pipeline import Stage
from mufin_model import config
from mufin_model.artefacts import NOUNS, Workspace
from mufin_model.errors import DatasetError, SettingError
from mufin_model.names import nearest

if TYPE_CHECKING:
    from dagster import DagsterInstance, EventLogEntry
    from rich.console import Console, RenderableType

POLL_SECONDS = 0.5
MARKS = {
    "waiting": "[dim]·[/dim]",
    "running": "[cyan]▶[/cyan]",
    "done": "[green]✓[/green]",
    "failed": "[red]✗[/red]",
    "skipped": "[yellow]-[/yellow]",
    "cancelled": "[yellow]-[/yellow]",
}


@dataclass
class Row:
    """What is known of one stage in the run under way."""

    name: str
    state: str = "waiting"
    began: float = 0.0
    seconds: float = 0.0
    line: str = ""
    checks: dict[str, bool] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Checks that failed, and their severity."""
    error: str = ""


def materialize(
    workspace: Workspace,
    datasets: Sequence[str],
    nouns: Sequence[str],
    overrides: Sequence[str] = (),
    force: bool = False,
    mode: str = "",
) -> bool:
    """Materialize stages and show how it goes.

    Args:
        workspace: the project.
        datasets: all of params.yaml's where empty.
        nouns: stages, by noun or verb; all where empty.
        overrides: `stage.key=value`, kept in params.yaml for these datasets.
        force: run although DVC finds nothing changed.
        mode: refresh, retrain, or empty (mufin_model/run_mode.py).

    Returns:
        Whether every stage and every critical check passed.

    Raises:
        SettingError, DatasetError: something is not known; nothing has run.
    """
    from rich.console import Console

    names = config.datasets(workspace.params, datasets)
    if not names:
        raise DatasetError("no dataset is registered", where="params.yaml", mend="mufin add NAME PATH registers one")
    for dataset in names:
        config.load(workspace.params, dataset, overrides)
    for dataset in names if overrides else []:
        params.override(workspace, dataset, overrides)
    chosen = select(pipeline.load(workspace.root), names, nouns)
    rows = {stage.key: Row("/".join(stage.key)) for stage in chosen}
    console = Console()
    passed = _run(workspace, rows, force, mode, console)
    for dataset in names:
        own = [row for key, row in rows.items() if key[0] == dataset]
        failed = [(row.name, name, severity) for row in own for name, severity in row.failed.items()]
        done = all(row.state == "done" for row in own) and (passed or any(row.error for row in rows.values()))
        console.print()
        for line in run_end.lines(workspace, dataset, failed, done):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    return passed


def select(stages: Sequence[Stage], datasets: Sequence[str], nouns: Sequence[str]) -> list[Stage]:
    """The stages asked for, in the order of dvc.yaml.

    Raises:
        SettingError: no stage has that noun or verb.
    """
    known = list(dict.fromkeys(stage.noun for stage in stages))
    wanted = [NOUNS.get(name, name) for name in nouns]
    for name in wanted:
        if name not in known:
            mend = nearest(name, [*known, *NOUNS]) or f"one of: {', '.join(known)}"
            raise SettingError(f"no stage {name!r}", where="dvc.yaml", mend=mend)
    return [stage for stage in stages if stage.dataset in datasets and (not wanted or stage.noun in wanted)]


def _run(workspace: Workspace, rows: dict[tuple[str, str], Row], force: bool, mode: str, console: Console) -> bool:
    from dagster import DagsterInstance

    env = home.enter(workspace)
    launch = uuid.uuid4().hex[:12]
    told = json.dumps({"launch": launch, "assets": ["/".join(key) for key in rows], "force": force, "mode": mode})
    log = Path(env["DAGSTER_HOME"]) / "launches" / f"{launch}.log"
    log.parent.mkdir(exist_ok=True)
    with DagsterInstance.get() as instance, log.open("w") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "mufin_dagster.launch", told],
            cwd=workspace.root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            _follow(instance, launch, child, rows, console)
        except KeyboardInterrupt:
            console.print("cancelling: the stage under way tidies up, earlier artefacts stay")
            _cancel(instance, launch, child)
            for row in rows.values():
                if row.state in ("waiting", "running"):
                    row.state = "cancelled"
                    console.print(_plain(row), markup=False, highlight=False, soft_wrap=True)
            console.print("the run is cancelled; the same command goes on from the last finished stage")
            raise
    for row in rows.values():
        if row.state in ("waiting", "running"):
            row.state = "skipped"
            console.print(_plain(row), markup=False, highlight=False, soft_wrap=True)
    failed = [row for row in rows.values() if row.error]
    for row in failed:
        console.print(f"\n[red]{row.name} failed[/red]")
        console.print(row.error, markup=False, highlight=False)
    if child.returncode and not failed:
        console.print(f"\n[red]the run failed[/red]; the end of {log}:")
        console.print("\n".join(log.read_text().splitlines()[-15:]), markup=False, highlight=False)
    if not child.returncode:
        log.unlink()
    return child.returncode == 0


def _cancel(instance: DagsterInstance, launch: str, child: subprocess.Popen[bytes]) -> None:
    """End the run's process. Dagster first learns that someone asks for it: it calls the run failed otherwise."""
    from dagster import DagsterRunStatus

    run = instance.get_run_by_id(_run_id(instance, launch))
    if run and not run.is_finished:
        instance.report_run_canceling(run, "Cancelled in the shell.")
    child.send_signal(signal.SIGINT)
    child.wait()
    run = instance.get_run_by_id(_run_id(instance, launch))
    if run and not run.is_finished:
        if run.status != DagsterRunStatus.CANCELING:
            instance.report_run_canceling(run, "Cancelled in the shell.")
        instance.report_run_canceled(run)


def _follow(
    instance: DagsterInstance,
    launch: str,
    child: subprocess.Popen[bytes],
    rows: dict[tuple[str, str], Row],
    console: Console,
) -> None:
    """Read the run's events as they come, until its process ends."""
    from rich.live import Live

    run_id, cursor, over = "", None, False
    live = Live(console=console, get_renderable=lambda: _table(rows)) if console.is_terminal else None
    with live or nullcontext():
        while not over:
            over = child.poll() is not None
            run_id = run_id or _run_id(instance, launch)
            more = bool(run_id)
            while more:
                page = instance.get_records_for_run(run_id, cursor=cursor, limit=500)
                cursor, more = page.cursor, page.has_more
                for record in page.records:
                    row = _apply(record.event_log_entry, rows)
                    if told := _waits(record.event_log_entry):
                        console.print(told, markup=False, highlight=False, soft_wrap=True)
                    if row and live is None:
                        console.print(_plain(row), markup=False, highlight=False, soft_wrap=True)
            if not over:
                time.sleep(POLL_SECONDS)


def _run_id(instance: DagsterInstance, launch: str) -> str:
    from dagster import RunsFilter

    runs = instance.get_runs(RunsFilter(tags={home.LAUNCH: launch}), limit=1)
    return runs[0].run_id if runs else ""


def _apply(entry: EventLogEntry, rows: dict[tuple[str, str], Row]) -> Row | None:
    """Bring a row up to date with one event; the row, where its state changed."""
    event = entry.dagster_event
    if event is None:
        if entry.step_key and (row := _row(entry.step_key, rows)):
            row.line = entry.user_message.strip().splitlines()[-1] if entry.user_message.strip() else row.line
        return None
    kind = event.event_type_value
    if kind == "ASSET_CHECK_EVALUATION":
        found = event.asset_check_evaluation_data
        row = rows.get(tuple(found.asset_key.path))  # type: ignore[arg-type]
        if row:
            row.checks[found.check_name] = found.passed
            if not found.passed:
                row.failed[found.check_name] = "critical" if found.severity.value == "ERROR" else "warning"
            if not found.passed and found.severity.value == "ERROR":
                row.state, row.error = "failed", f"{row.error}\ncheck {found.check_name}: {found.description}".strip()
                return row
        return None
    row = _row(event.step_key, rows) if event.step_key else None
    if row is None:
        return None
    if kind == "STEP_START":
        row.state, row.began = "running", entry.timestamp
    elif kind == "STEP_SUCCESS":
        row.state, row.seconds = "done", entry.timestamp - row.began
    elif kind == "STEP_SKIPPED":
        row.state = "skipped"
    elif kind == "STEP_FAILURE":
        row.seconds = entry.timestamp - row.began if row.began else 0.0
        told = _failure(event.step_failure_data)
        if "Dependencies for step" in told:
            row.state = "skipped"
        else:
            row.state, row.error = "failed", told
    else:
        return None
    return row


def _waits(entry: EventLogEntry) -> str:
    """That the run waits for another, and for which; nothing else."""
    event = entry.dagster_event
    told = event.message or "" if event and event.event_type_value == "ENGINE_EVENT" else ""
    return told if claims.WAITS in told else ""


def _failure(data: Any) -> str:
    if data.user_failure_data and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    error = data.error.cause or data.error if data.error else None
    return str(error.message).strip() if error else "failed"


def _row(step: str, rows: dict[tuple[str, str], Row]) -> Row | None:
    dataset, _, noun = step.partition("__")
    return rows.get((dataset, noun))


def _table(rows: dict[tuple[str, str], Row]) -> RenderableType:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False, expand=True)
    # only the last column may shrink: what a command says is longer than a terminal is wide
    table.add_column(width=1, no_wrap=True)
    table.add_column(width=max(len(row.name) for row in rows.values()), no_wrap=True)
    table.add_column(width=6, justify="right", no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis", style="dim")
    for row in rows.values():
        seconds = time.time() - row.began if row.state == "running" else row.seconds
        table.add_row(MARKS[row.state], row.name, f"{seconds:.0f} s" if seconds else "", escape(_note(row)))
    return table


def _plain(row: Row) -> str:
    seconds = f" in {row.seconds:.1f} s" if row.state in ("done", "failed") else ""
    return f"{row.name}: {row.state}{seconds}"


def _note(row: Row) -> str:
    if row.state == "done" and row.checks:
        return f"{sum(row.checks.values())} of {len(row.checks)} checks passed"
    return row.line if row.state in ("running", "done") else ""
