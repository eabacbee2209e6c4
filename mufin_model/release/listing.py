"""`mufin releases`: every decision of a dataset, for people as a table, for programs as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mufin_model.artefacts import Workspace
from mufin_model.config import read
from mufin_model.errors import DatasetError
from mufin_model.release.shelf import REFUSED, Shelf

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
    """Print a table; a refused challenger with its reasons."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if not found:
        print("nothing was released yet: mufin release --dataset NAME")
        return
    metrics = list(dict.fromkeys(name for one in found for name in one["metrics"] if name in ("P@1", "nDCG@5")))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("dataset", "release", "decision", "state", "when (UTC)"):
        table.add_column(heading, no_wrap=True)
    for heading in (*metrics, "MB", "ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("data / code / params", no_wrap=True)
    table.add_column("why", overflow="fold")
    for one in found:
        colour, measured, made_of = COLOURS[one["state"]], one.get("measured", {}), one["provenance"]
        table.add_row(
            one["dataset"],
            one["release"],
            one["decision"],
            f"[{colour}]{one['state']}[/{colour}]",
            one["made"]["at"][:16].replace("T", " "),
            *(f"{100 * one['metrics'][name]:.2f}" if name in one["metrics"] else "" for name in metrics),
            f"{measured['megabytes']:.1f}" if "megabytes" in measured else "",
            f"{measured['milliseconds']:.1f}" if "milliseconds" in measured else "",
            " / ".join(str(made_of.get(name, ""))[:7] for name in ("data", "code", "params")),
            escape("\n".join(one["reasons"] or one.get("notes", []))),
        )
    Console().print(table)


def as_json(found: Sequence[dict[str, Any]]) -> str:
    """All of the records."""
    return json.dumps(list(found), indent=2, sort_keys=True)
