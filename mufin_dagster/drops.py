"""The drop folder: a catalogue copied there becomes a dataset's new version, as by `mufin add --replace`.

    cp -r new_catalogue /srv/drops/shop && touch /srv/drops/shop/_READY

A drop counts as complete with the mark `_READY`, or when nothing in it has changed for `automation.drop_quiet`
seconds and no file is called as half-copied ones are. It is moved to `.taking/` before it is read, so that nothing
changes under way; afterwards it is gone, or lies in `.refused/` with the reason beside it.
"""
# No `from __future__ import annotations`: Dagster reads the annotation of `config` itself.

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from mufin_dagster import datasets, retries, versioning
from mufin_dagster.automation import sensor_status
from mufin_dagster.run_tags import DATASET, JOB
from mufin_dagster.settings import Automation
from mufin_dagster.sync import UNDER_WAY
from mufin_model.artefacts import Workspace
from mufin_model.config import read
from mufin_model.errors import MufinError

READY = "_READY"
PARTIAL = (".part", ".partial", ".tmp", ".crdownload", ".filepart", "~")
"""How copying programs call what they have not finished."""
TAKING, REFUSED = ".taking", ".refused"
TAKE_IN = "take_in"


@dataclass(frozen=True)
class Drop:
    """One folder in the drop folder: the dataset's name, a hash of names, sizes and times, and whether it is done."""

    name: str
    signature: str
    marked: bool
    partial: bool


def drops(folder: Path) -> list[Drop]:
    """What lies in the drop folder; hidden names are left out. A drop that vanishes while read is not there."""
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(".") or not path.is_dir():
            continue
        try:
            files = sorted(file for file in path.rglob("*") if file.is_file())
            told = [(str(f.relative_to(path)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
        except FileNotFoundError:
            continue
        names = [file.name for file in files]
        # rsync writes `.name.random`, others append an ending
        partial = any(name.endswith(PARTIAL) or (name.startswith(".") and name.count(".") > 1) for name in names)
        signature = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
        found.append(Drop(path.name, signature, READY in names, partial or not files))
    return found


def complete(
    found: list[Drop], seen: Mapping[str, tuple[str, float]], now: float, quiet: float
) -> tuple[list[Drop], dict[str, tuple[str, float]]]:
    """Which drops may be read, and since when each is as it is.

    Args:
        found: what lies there now.
        seen: name to signature and when it was first seen, of the last look.
        now: seconds; quiet: how long nothing may have changed.
    """
    since = {}
    for drop in found:
        signature, at = seen.get(drop.name, ("", now))
        since[drop.name] = (drop.signature, at if signature == drop.signature else now)
    done = [d for d in found if d.marked or (not d.partial and now - since[d.name][1] >= quiet)]
    return done, since


def take_in(workspace: Workspace, folder: Path, name: str) -> str:
    """Make a drop the dataset's catalogue.

    Args:
        workspace: the project.
        folder: the drop folder.
        name: of the drop and the dataset.

    Returns:
        What became of it, in words.

    Raises:
        MufinError: it is refused, and lies in `.refused/` with the reason; the earlier catalogue stays.
    """
    with versioning.exclusive(workspace.root, f"drop.{name}"):
        return _take_in(workspace, folder, name)


def _take_in(workspace: Workspace, folder: Path, name: str) -> str:
    taking = folder / TAKING / name
    taking.parent.mkdir(exist_ok=True)
    if (folder / name).is_dir():
        shutil.rmtree(taking, ignore_errors=True)  # of a run that was killed: a newer drop replaces it
        os.rename(folder / name, taking)
    if not taking.is_dir():
        return "nothing is there: a run that was lost had taken it in, or somebody removed it"
    (taking / READY).unlink(missing_ok=True)
    new = name not in (read(workspace.params).get("datasets") or [])
    try:
        datasets.add(workspace, name, taking, replace=True)
    except MufinError as error:
        if not retries.may_pass(error):
            _refuse(folder, taking, str(error))
        raise
    shutil.rmtree(taking)
    return "a new dataset: reload the code location to see its assets" if new else "a new version of its catalogue"


def left(folder: Path) -> dict[str, int]:
    """What a run moved to `.taking/` and did not end with, and when: the run was killed."""
    taking = folder / TAKING
    return {path.name: path.stat().st_mtime_ns for path in sorted(taking.iterdir())} if taking.is_dir() else {}


def _refuse(folder: Path, taking: Path, reason: str) -> None:
    target = folder / REFUSED / taking.name
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(exist_ok=True)
    os.rename(taking, target)
    target.with_name(f"{taking.name}.txt").write_text(reason + "\n")


class TakeIn(dg.Config):
    """Which drop."""

    name: str


def job(workspace: Workspace, settings: Automation) -> dg.JobDefinition:
    """The job that takes one drop in; what may pass is tried again."""
    folder = drop_folder(workspace, settings)

    @dg.op(name="take_drop", out=dg.Out(dg.Nothing), retry_policy=retries.policy(settings))
    def take(context: dg.OpExecutionContext, config: TakeIn) -> None:
        try:
            context.log.info(f"{config.name}: {take_in(workspace, folder, config.name)}")
        except MufinError as error:
            raise dg.Failure(str(error), allow_retries=retries.may_pass(error)) from error

    @dg.job(name=TAKE_IN, description="A catalogue from the drop folder becomes a dataset's new version.")
    def made() -> None:
        take()

    return made


def sensor(workspace: Workspace, settings: Automation, take: dg.JobDefinition) -> dg.SensorDefinition:
    """Looks into the drop folder and asks for a run for each complete drop."""
    folder = drop_folder(workspace, settings)

    @dg.sensor(
        name="drop_folder",
        job=take,
        minimum_interval_seconds=max(5, min(30, settings.drop_quiet // 2)),
        default_status=sensor_status(settings),
        description=f"Complete catalogues in {settings.drop_folder} become new versions of their datasets.",
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        seen = {name: (told[0], told[1]) for name, told in json.loads(context.cursor or "{}").items()}
        done, since = complete(drops(folder), seen, time.time(), settings.drop_quiet)
        keys = {drop.name: f"{drop.name} {drop.signature} {since[drop.name][1]}" for drop in done}
        runs = context.instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY, tags={JOB: TAKE_IN}))
        busy = {run.tags.get(DATASET) for run in runs}
        # asked for once more: a run key is used once
        again = {name: f"{name} left {at}" for name, at in left(folder).items() if name not in {*since, *busy}}
        requests = [
            dg.RunRequest(
                run_key=key,
                run_config={"ops": {"take_drop": {"config": {"name": name}}}},
                tags={JOB: TAKE_IN, DATASET: name},
            )
            for name, key in {**again, **keys}.items()
        ]
        waiting = [name for name in since if name not in {drop.name for drop in done}]
        told = f"still being copied: {', '.join(waiting)}" if waiting else "the drop folder is empty"
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else dg.SkipReason(told),
            cursor=json.dumps(since),
        )

    return look


def drop_folder(workspace: Workspace, settings: Automation) -> Path:
    """The drop folder; a relative one is the project's."""
    return workspace.root / settings.drop_folder
