"""The console script `mufin`: the library's verbs, and what needs the orchestrator (each import lazy)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mufin_dagster.data_cli import app as data
from mufin_dagster.recorded import recorded
from mufin_dagster.release_commands import judged
from mufin_model.artefacts import Workspace
from mufin_model.cli import RELEASED, Overrides, app, guarded

Datasets = Annotated[list[str] | None, typer.Option("--dataset", "-d", help="A dataset; repeatable. All by default.")]
PROJECT = "The project"

app.add_typer(data, name="data", rich_help_panel=PROJECT)
WRAPPED = {"ingest": recorded, "release": judged}
for command in app.registered_commands:
    if command.name in WRAPPED and command.callback:
        command.callback = WRAPPED[command.name](command.callback)


@app.command(rich_help_panel=PROJECT)
@guarded
def demo(items: Annotated[int, typer.Option(help="Items to draw, where there is no catalogue yet.")] = 2000) -> None:
    """Draw a catalogue, run every stage on it, show the figures."""
    from mufin_dagster.demo import run

    raise typer.Exit(0 if run(Workspace.find(), items) else 1)


@app.command(rich_help_panel=PROJECT)
@guarded
def add(
    name: Annotated[str, typer.Argument(help="Small letters, digits, underscores.")],
    path: Annotated[Path, typer.Argument(help="The folder that holds the catalogue.")],
    replace: Annotated[bool, typer.Option(help="A new version of a dataset's catalogue.")] = False,
    overrides: Overrides = None,
) -> None:
    """Check a catalogue and make it a dataset of this project. Overrides are kept in params.yaml."""
    from mufin_dagster.datasets import add as add_dataset

    add_dataset(Workspace.find(), name, path, replace, overrides or [])
    print(f"{name} is a dataset now: mufin materialize -d {name}")


@app.command(rich_help_panel=PROJECT)
@guarded
def materialize(
    nouns: Annotated[list[str] | None, typer.Argument(help="Stages, by noun or verb. All by default.")] = None,
    datasets: Datasets = None,
    overrides: Overrides = None,
    force: Annotated[bool, typer.Option(help="Run although DVC finds nothing changed.")] = False,
) -> None:
    """Bring stages up to date through Dagster, with their checks. Overrides are kept in params.yaml."""
    from mufin_dagster.materialize import materialize as materialize_stages

    passed = materialize_stages(Workspace.find(), datasets or [], nouns or [], overrides or [], force)
    raise typer.Exit(0 if passed else 1)


@app.command(rich_help_panel=PROJECT)
@guarded
def refresh(datasets: Datasets = None) -> None:
    """Take new items and labels in with the weights there are; no training."""
    _job("refresh", datasets)


@app.command(rich_help_panel=PROJECT)
@guarded
def retrain(datasets: Datasets = None) -> None:
    """Train anew what DVC finds changed, a refresh before it included."""
    _job("retrain", datasets)


def _job(name: str, datasets: list[str] | None) -> None:
    from mufin_dagster.materialize import materialize as materialize_stages

    passed = materialize_stages(Workspace.find(), datasets or [], [], mode=name)
    raise typer.Exit(0 if passed else 1)


@app.command(rich_help_panel=PROJECT)
@guarded
def backfill(
    revs: Annotated[list[str], typer.Argument(help="Past versions: commits, by any of git's names.")],
    datasets: Datasets = None,
) -> None:
    """Make past versions again beside the present one; exit code 1 where one comes out other than recorded."""
    from mufin_dagster.backfill import rebuild
    from mufin_dagster.data_versions import known

    workspace = Workspace.find()
    exact = True
    for rev in revs:
        for name in known(workspace, datasets or []):
            done = rebuild(workspace, rev, name, lambda line: print(line, flush=True))
            exact &= done.exact
            print(done, f"report: {done.report}" if done.report else "", sep="\n", flush=True)
    raise typer.Exit(0 if exact else 1)


@app.command(rich_help_panel=PROJECT)
@guarded
def status(
    datasets: Datasets = None,
    as_json: Annotated[bool, typer.Option("--json", help="For a program.")] = False,
) -> None:
    """What is stale and why, last runs, releases, what is on; exit code 1 where something needs someone."""
    import json

    from mufin_dagster import overview
    from mufin_dagster import status as stages
    from mufin_model import config

    workspace = Workspace.find()
    asked = config.datasets(workspace.params, datasets or []) if datasets else []
    states = stages.states(workspace, asked)
    told = overview.overview(workspace, asked)
    if as_json:
        print(json.dumps(overview.as_json(states, told), indent=2))
    else:
        stages.show(states)
        overview.show(states, told)
    raise typer.Exit(1 if overview.attention(states, told) else 0)


@app.command(rich_help_panel=RELEASED)
@guarded
def rollback(
    release: Annotated[
        str | None, typer.Argument(help="Its name, or how it begins; by default the one before.")
    ] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Where there are several.")] = None,
) -> None:
    """Put an earlier release in front again; `mufin serve` follows within a second."""
    from mufin_dagster.release_commands import only
    from mufin_dagster.release_commands import rollback as switch

    workspace = Workspace.find()
    switch(workspace, dataset or only(workspace), release)


@app.command(rich_help_panel=PROJECT)
@guarded
def ui(
    port: Annotated[int, typer.Option(help="Of the web interface.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on; it asks no password.")] = "127.0.0.1",
) -> None:
    """Dagster's web interface, with sensors and schedules, until Ctrl-C."""
    from mufin_dagster.home import serve

    raise typer.Exit(serve(Workspace.find(), host, port))


@app.command(rich_help_panel=PROJECT)
@guarded
def validate(
    datasets: Datasets = None,
    catalog: Annotated[Path | None, typer.Option(help="A catalogue's folder, in any format, ours or not.")] = None,
    rev: Annotated[str | None, typer.Option(help="The catalogues of a version: any name of a git commit.")] = None,
    encode: Annotated[
        bool, typer.Option("--encode", help="Run the backbones over what is ingested; judge the vectors too.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="A warning fails too, with exit code 1.")] = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="JUnit XML.")] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="The result; docs/ci.md has its schema.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page; data/.quality/report.html by default.")
    ] = None,
    data_docs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Great Expectations' own pages, which load from the net.")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Judge the data: exit code 0, 1 (warnings, with --strict) or 2 (a blocking expectation failed)."""
    from mufin_dagster.quality.command import Wanted, validate_command

    wanted = Wanted(datasets or [], catalog, rev, strict, overrides or [], encode, junit, json, report, data_docs)
    raise typer.Exit(validate_command(wanted))


if __name__ == "__main__":
    app()
