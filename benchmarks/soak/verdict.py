"""What came of a soak: whether anything was lost, and the figures as Markdown."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import dagster as dg

from mufin_dagster import overview, pipeline, stale
from mufin_dagster.backfill import rebuild
from mufin_dagster.data_objects import ensure
from mufin_dagster.data_versions import history
from mufin_dagster.drops import TAKING
from mufin_dagster.run_tags import JOB
from mufin_dagster.sync import UNDER_WAY
from mufin_model.artefacts import NOUNS
from mufin_model.catalog.catalog import Catalog
from mufin_model.errors import MufinError
from mufin_model.release.package import md5, verify
from mufin_model.release.shelf import Shelf

from .faults import Faults
from .feed import Arrival
from .site import DATASET, Site
from .watch import Hook, Watch

RETRIED = "dagster/parent_run_id"


def lost(site: Site, watch: Watch, last: Path, forward: Callable[[str], None]) -> list[str]:
    """All that was lost or half written, a line each; none is what is hoped for.

    Args:
        site: at rest, its last run done.
        watch: what was answered and read meanwhile.
        last: the last catalogue that arrived whole.
        forward: is told what is looked at.
    """
    found: list[str] = []

    def check(name: str, of: Callable[[], Sequence[str]]) -> None:
        forward(f"looking at {name}")
        try:
            found.extend(of())
        except Exception as error:
            found.append(f"{name}: {error}")

    check("runs that never ended", lambda: _stuck(site))
    check("sensors and schedules that fail", lambda: _failing(site))
    check("stages that are not up to date", lambda: list(stale.reasons(site.root, pipeline.load(site.root))))
    check("artefacts and their hashes", lambda: _artefacts(site))
    check("versions of the data", lambda: _versions(site))
    check("the last catalogue", lambda: _arrived(site, last))
    check("releases", lambda: _releases(site))
    check("what was left half done", lambda: _half_done(site))
    found += [f"a request without an answer: {told}" for told in watch.dropped]
    found += [f"read half: {told}" for told in watch.torn]
    return found


def rebuilt(site: Site, forward: Callable[[str], None]) -> str:
    """The first version that has a report, made again."""
    for version in reversed(history(site.workspace, DATASET)):
        lock = subprocess.run(
            ["git", "show", f"{version.commit}:dvc.lock"], cwd=site.root, capture_output=True, text=True
        ).stdout
        if f"released_model@{DATASET}" in lock:
            return str(rebuild(site.workspace, version.commit, DATASET, forward))
    return "no version with a report was committed"


def _stuck(site: Site) -> list[str]:
    with dg.DagsterInstance.from_config(site.env["DAGSTER_HOME"]) as instance:
        runs = instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY))
        return [f"run {run.run_id[:8]} is {run.status.value}" for run in runs]


def _failing(site: Site) -> list[str]:
    """No fault strikes any more, so that one which failed at its last looks would go on like that."""
    with dg.DagsterInstance.from_config(site.env["DAGSTER_HOME"]) as instance:
        return [f"{name} failed at its last looks: {error}" for name, error in overview.failing(instance).items()]


def _artefacts(site: Site) -> list[str]:
    """Every artefact lies there as dvc.lock has it (by its bytes), and reads as what it is."""
    locked = pipeline.read_lock(site.root, pipeline.load(site.root))
    missing = [noun for noun in NOUNS.values() if f"{noun}@{DATASET}" not in locked]
    Catalog.load(site.workspace.read(DATASET, "raw_descriptors"))
    json.loads((site.workspace.read(DATASET, "eval_report") / "metrics.json").read_text())
    held = ensure(site.workspace, None).files
    changed = [path for path, digest in held.items() if _md5(site.root / path) != digest]
    return [*(f"{noun} is not recorded" for noun in missing), *(f"{path}: not as in dvc.lock" for path in changed)]


def _md5(path: Path) -> str | None:
    return md5(path) if path.is_file() else None


def _versions(site: Site) -> list[str]:
    """Every version that was committed can be gone back to: all its files are in the cache, byte for byte."""
    found = []
    for version in history(site.workspace, DATASET):
        try:
            ensure(site.workspace, version.commit)
        except MufinError as error:
            found.append(f"version {version.commit[:10]}: {error.what}")
    return found


def _arrived(site: Site, last: Path) -> list[str]:
    """The catalogue is the last good drop, to the byte."""
    catalog = site.workspace.catalog(DATASET)
    tables = [file for file in last.glob("*.parquet") if file.stem != "images"]
    return [f"{file.name} is not the last drop's" for file in tables if _md5(catalog / file.name) != md5(file)]


def _releases(site: Site) -> list[str]:
    shelf = Shelf(site.workspace, DATASET)
    now = shelf.current()
    found = [] if now else ["nothing is released"]
    for name in shelf.names():
        verify(shelf.path(name))
    numbers = [one["number"] for one in shelf.records()]
    if numbers != list(range(1, len(numbers) + 1)):
        found.append(f"decisions are missing among {numbers}")
    mirror = site.workspace.read(DATASET, "released_model") / "manifest.json"
    if now and json.loads(mirror.read_text())["release"] != now.name:
        found.append("released_model is not the release in front")
    return found


def _half_done(site: Site) -> list[str]:
    dataset = site.workspace.dataset(DATASET)
    places = [dataset, dataset / "releases", site.drops / TAKING]
    left = [path for place in places if place.is_dir() for path in place.glob(".*.[0-9]*")]
    taking = site.drops / TAKING
    left += list(taking.iterdir()) if taking.is_dir() else []
    return [f"left half done: {path.relative_to(site.folder)}" for path in left]


def figures(site: Site, watch: Watch, faults: Faults, hook: Hook, arrivals: Sequence[Arrival]) -> str:
    """Runs, faults, arrivals, releases, as Markdown."""
    with dg.DagsterInstance.from_config(site.env["DAGSTER_HOME"]) as instance:
        runs = instance.get_runs()
        events = [event for run in runs for event in instance.all_logs(run.run_id)]
    kinds = Counter(event.dagster_event.event_type_value for event in events if event.dagster_event)
    by_job: dict[str, Counter[str]] = {}
    for run in runs:
        by_job.setdefault(run.tags.get(JOB, "materialize, beside"), Counter())[run.status.value.lower()] += 1
    warned = Counter(
        event.dagster_event.asset_check_evaluation_data.check_name
        for event in events
        if event.dagster_event
        and event.dagster_event.event_type_value == "ASSET_CHECK_EVALUATION"
        and not event.dagster_event.asset_check_evaluation_data.passed
    )
    lines = ["| runs of | succeeded | failed | canceled |", "|---|--:|--:|--:|"]
    for job, ended in sorted(by_job.items()):
        lines.append(f"| {job} | {ended['success']} | {ended['failure']} | {ended['canceled']} |")
    resumed = sum("resumed after epoch" in event.user_message for event in events)
    again = sum(RETRIED in run.tags for run in runs)
    lines += ["", f"{len(runs)} runs, {again} of them taken up again after their process was lost;"]
    lines += [f"{kinds['STEP_SUCCESS']} steps succeeded, {kinds['STEP_UP_FOR_RETRY']} tries of a step were repeated,"]
    lines += [f"{resumed} trainings went on from a checkpoint.", "", "| fault | times |", "|---|--:|"]
    lines += [f"| {kind} | {times} |" for kind, times in sorted(faults.struck.items())]
    lines += ["", "| arrived | refused at the door, because |", "|---|---|"]
    lines += [f"| {one.kind} | {one.refused} |" for one in arrivals]
    lines += ["", "| decision | challenger | why |", "|---|---|---|"]
    for one in Shelf(site.workspace, DATASET).records():
        why = one["reasons"][0] if one["reasons"] else "; ".join(one.get("notes", [])[:1])
        lines.append(f"| {one['decision']} | {one['challenger'][:8]} | {why} |")
    lines += ["", "Checks that did not pass, and how often: " + (_counted(warned) or "none") + "."]
    lines += [f"Answers of the server by release: {_counted(watch.answers)}; {len(watch.dropped)} requests dropped."]
    lines += [f"Read whole meanwhile: {watch.reads} artefacts; {len(watch.torn)} half."]
    if faults.beside:
        lines += [f"`mufin materialize` beside other runs ended with {', '.join(map(str, faults.beside))}."]
    lines += [f"Told by webhook: {len(hook.told)} messages."]
    return "\n".join(lines)


def _counted(of: Counter[str]) -> str:
    return ", ".join(f"{name[:40]} {times}" for name, times in of.most_common())
