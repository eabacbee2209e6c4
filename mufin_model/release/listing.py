"""`mufin releases`: every decision of a dataset, for people as a table, for programs as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mufin_model.artefacts import Workspace
from mufin_model.config import read
from mufin_model.errors import DatasetError
from mufin_model.release.shelf import REFUSED, Shelf

METRICS = ("P@1", "nDCG@5")
HEADINGS = "   P@1 nDCG@5     MB     ms"
COLOURS = {"current": "green", "kept": "cyan", "refused": "yellow", "gone": "dim"}


def releases(workspace: Workspace, datasets: Sequence[str]) -> list[dict[str, Any]]:
    """Decisions of the datasets asked for, or of all, the last one first.

    Returns:
        Records as `shelf.py` keeps them, each with its `dataset` and `state`: current, kept (in the folder, to roll
        back to), refused, or gone. A release has one line for each decision about it; the state is in the last.

    Raises:
        DatasetError: one is not registered.
    """
    known = [str(name) for name in read(workspace.params).get("datasets") or []]
    found = []
    for name in datasets or known:
        if name not in known:
            raise DatasetError(f"no dataset named {name!r}", where=str(workspace.params), rows=known)
        shelf = Shelf(workspace, name)
        now, here = shelf.current(), set(shelf.names())
        seen: set[str] = set()
        for one in reversed(shelf.records()):
            release = one["release"]
            state = "gone"
            if one["decision"] == REFUSED:
                state = "refused"
            elif release in here and release not in seen:
                state = "current" if now and now.name == release else "kept"
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
    return one["state"] if one["state"] in ("current", "refused") else f"{one['decision'].split()[0]}, {one['state']}"


def as_json(found: Sequence[dict[str, Any]]) -> str:
    """All of the records."""
    return json.dumps(list(found), indent=2, sort_keys=True)
