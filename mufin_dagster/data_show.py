"""Versions and their differences as tables for a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mufin_dagster.data_diff import Change, compare, snapshot
from mufin_dagster.data_objects import CacheError, ensure
from mufin_dagster.data_versions import DESCRIPTORS, Version, history, known, resolve
from mufin_model.artefacts import Workspace

COUNTED = ("items", "labels", "links", "images")


def show_history(workspace: Workspace, datasets: Sequence[str]) -> None:
    """Print each dataset's versions."""
    for dataset in known(workspace, datasets):
        rows = []
        for version in history(workspace, dataset):
            figures = figures_of(workspace, dataset, version)
            told = [f"{figures[what]:,}" if figures else "-" for what in COUNTED]
            rows.append([version.commit[:10], version.date[:16].replace("T", " "), *told, version.message])
        _print(f"{dataset}: versions", ["commit", "date", *COUNTED, "message"], rows)


def show_diff(workspace: Workspace, old: str, new: str | None, datasets: Sequence[str]) -> None:
    """Print what two versions of each dataset differ in."""
    commits = [resolve(workspace.root, old), resolve(workspace.root, new) if new else None]
    for dataset in known(workspace, datasets):
        then, now = (snapshot(workspace, dataset, commit) for commit in commits)
        found = compare(then, now)
        rows = [[what, *_told(getattr(found, what))] for what in COUNTED]
        title = f"{dataset}: {old} to {new or 'the project'}"
        _print(title, ["", "then", "now", "added", "removed", "changed", "of which"], rows)
        drift = [
            [one.name, f"{one.then:,.3f}", f"{one.now:,.3f}", "" if one.psi is None else f"{one.psi:.3f}"]
            for one in found.drift
        ]
        _print(
            f"{dataset}: drift (PSI below 0.1 stable, above 0.25 another population)", ["", "then", "now", "PSI"], drift
        )


def figures_of(workspace: Workspace, dataset: str, version: Version) -> dict[str, int] | None:
    """Items, labels, links and images of a version; None where its data are in no cache or remote at hand."""
    if version.descriptors is None:
        return None
    path = f"data/{dataset}/{DESCRIPTORS}/summary.json"
    try:
        held = ensure(workspace, version.commit, [path]).held(path)
    except CacheError:
        return None
    summary = json.loads(held.read_bytes())
    return {**{what: summary[what] for what in ("items", "labels", "images")}, "links": sum(summary["links"].values())}


def _told(change: Change) -> list[str]:
    counts = (change.then, change.now, change.added, change.removed, change.changed)
    return [*(f"{count:,}" for count in counts), ", ".join(f"{what} {count:,}" for what, count in change.why.items())]


def _print(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        text = column in ("", "commit", "date", "message", "of which")
        table.add_column(column, justify="left" if text else "right", no_wrap=column != "message")
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)
