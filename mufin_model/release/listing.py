"""`mufin releases`: every decision of a dataset, for people as a table, for programs as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mufin_model import config
from mufin_model.artefacts import Workspace
from mufin_model.release.shelf import REFUSED, Shelf

METRICS = ("P@1", "nDCG@5")
HEADINGS = "   P@1 nDCG@5     MB     ms"
COLOURS = {"current": "green", "kept": "cyan", "refused": "yellow", "gone": "dim", "earlier": "dim"}


def releases(workspace: Workspace, datasets: Sequence[str]) -> list[dict[str, Any]]:
    """Decisions of the datasets asked for, or of all, the last one first.

    Returns:
        Records as `shelf.py` keeps them, each with its `dataset` and `state`. The last decision about a release has
        the release's state: current, kept (in the folder, to roll back to), refused, or gone. The decisions before it
        have the state earlier.

    Raises:
        DatasetError: one is not registered.
    """
    found = []
    for name in config.datasets(workspace.params, datasets):
        shelf = Shelf(workspace, name)
        now, here = shelf.current(), set(shelf.names())
        seen: set[str] = set()
        for one in reversed(shelf.records()):
            release = one["release"]
            if release in seen:
                state = "earlier"
            elif now and now.name == release:
                state = "current"
            elif release in here:
                state = "kept"
            else:
                state = "refused" if one["decision"] == REFUSED else "gone"
            seen.add(release)
            found.append({"dataset": name, "state": state, **one})
    return found


def show(found: Sequence[dict[str, Any]]) -> None:
    """Print a line for each decision, and under it why."""
    from rich.console import Console
    from rich.markup import escape

    if not found:
        print("nothing was released yet: mufin release --dataset NAME")
        return
    width = max(7, *(len(one["dataset"]) for one in found))
    console = Console()
    console.print(
        f"{'dataset':{width}}  {'release':12}  {'state':14}  {'when (UTC)':16}  {HEADINGS}",
        style="bold",
        soft_wrap=True,
    )
    for one in found:
        measured = one.get("measured", {})
        figures = [f"{100 * one['metrics'][name]:6.2f}" if name in one["metrics"] else " " * 6 for name in METRICS]
        figures += [f"{measured[name]:6.1f}" if name in measured else " " * 6 for name in ("megabytes", "milliseconds")]
        state = f"{_state(one):14}"
        line = f"{one['dataset']:{width}}  {one['release']:12}  [{COLOURS[one['state']]}]{state}[/]"
        line += f"  {one['made']['at'][:16].replace('T', ' ')}  {' '.join(figures)}"
        console.print(line, soft_wrap=True, highlight=False)
        for reason in one["reasons"]:
            console.print(f"{'':{width}}  {escape(reason)}", soft_wrap=True, highlight=False)


def _state(one: dict[str, Any]) -> str:
    """What is left of a decision, in a word or two."""
    decision = one["decision"].split()[0]
    if one["state"] == decision or (one["state"] == "current" and decision != REFUSED):
        return str(one["state"])
    return f"{decision}, {one['state']}"


def as_json(found: Sequence[dict[str, Any]]) -> str:
    """All of the records."""
    return json.dumps(list(found), indent=2, sort_keys=True)
