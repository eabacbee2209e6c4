"""`mufin status`: each stage of each dataset, fresh, stale (and why) or missing, as DVC sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mufin_dagster import pipeline, stale
from mufin_model.artefacts import Workspace

SHOWN = 2
"""Reasons told in one line."""
COLOURS = {"fresh": "green", "stale": "yellow", "missing": "red"}


@dataclass(frozen=True)
class State:
    """One stage's state; `version` is the first eight characters of its data version, `seconds` its last run's."""

    dataset: str
    noun: str
    state: str
    why: str
    version: str
    seconds: float | None


def states(workspace: Workspace, datasets: Sequence[str] = ()) -> list[State]:
    """The state of all stages, or of some datasets'. A stage after a stale one is stale too."""
    stages = [s for s in pipeline.load(workspace.root) if not datasets or s.dataset in datasets]
    changed = stale.reasons(workspace.root, stages)
    locked = pipeline.read_lock(workspace.root, stages)
    behind: dict[tuple[str, str], str] = {}
    found = []
    for stage in stages:
        upstream = [noun for dataset, noun in pipeline.parents(stage, stages) if (dataset, noun) in behind]
        there = all((workspace.root / out).exists() for out in stage.outs)
        if stage.address in changed:
            reasons = changed[stage.address]
            more = f" and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
            why = "; ".join(reasons[:SHOWN]) + more
        else:
            why = f"follows {upstream[0]}" if upstream else ""
        if why:
            behind[stage.key] = why
        state = "missing" if not there else "stale" if why else "fresh"
        found.append(
            State(
                stage.dataset,
                stage.noun,
                state,
                "" if state == "missing" else why,
                locked[stage.address].data_version[:8] if stage.address in locked else "",
                workspace.seconds(stage.dataset).get(stage.noun),
            )
        )
    return found


def show(found: Sequence[State]) -> None:
    """Print a table."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("dataset", "stage", "", "version"):
        table.add_column(heading)
    table.add_column("seconds", justify="right")
    table.add_column("why", overflow="fold")
    before = ""
    datasets = list(dict.fromkeys(one.dataset for one in found))
    for one in sorted(found, key=lambda one: datasets.index(one.dataset)):
        colour = COLOURS[one.state]
        seconds = f"{one.seconds:.1f}" if one.seconds is not None else ""
        name = one.dataset if one.dataset != before else ""
        table.add_row(name, one.noun, f"[{colour}]{one.state}[/{colour}]", one.version, seconds, escape(one.why))
        before = one.dataset
    Console().print(table)
