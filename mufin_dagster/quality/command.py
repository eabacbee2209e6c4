"""`mufin validate`: every rule of every artefact that exists, as a table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mufin_dagster.quality import rules
from mufin_model import config
from mufin_model.artefacts import Workspace
from mufin_model.errors import ArtefactError, DatasetError, MufinError

if TYPE_CHECKING:
    from mufin_dagster.quality.validator import Outcome

MARKS = {"ok": "[green]ok[/green]", "warning": "[yellow]warning[/yellow]", "critical": "[red]FAILED[/red]"}


def validate_command(dataset: str | None, strict: bool) -> int:
    """Judge the artefacts of one dataset, or of all, and print a table.

    Args:
        dataset: its name; every dataset of params.yaml where None.
        strict: warnings count as failures.

    Returns:
        0: nothing to complain of; 1: a critical rule failed (any rule, if strict); 2: there is nothing to judge.
    """
    try:
        workspace = Workspace.find()
        outcomes = [found for name in _datasets(workspace, dataset) for found in _judge(workspace, name)]
        if not outcomes:
            raise ArtefactError(
                "no artefact to judge yet", where=str(workspace.root / "data"), mend="mufin ingest --dataset NAME"
            )
    except MufinError as error:
        print(error, file=sys.stderr, flush=True)
        return 2
    _show(outcomes)
    failed = [found for _, found in outcomes if not found.passed and (strict or found.severity == rules.CRITICAL)]
    return 1 if failed else 0


def _datasets(workspace: Workspace, dataset: str | None) -> list[str]:
    known = list(config.read(workspace.params).get("datasets") or [])
    if dataset is None:
        return known
    if dataset not in known:
        raise DatasetError(
            f"no dataset named {dataset!r}",
            where=f"{workspace.params}, key datasets",
            rows=known,
            mend="mufin add NAME PATH registers one",
        )
    return [dataset]


def _judge(workspace: Workspace, dataset: str) -> list[tuple[str, Outcome]]:
    from mufin_dagster.quality.validator import validate

    there = [noun for noun in rules.nouns() if workspace.path(dataset, noun).is_dir()]
    return [(dataset, outcome) for noun in there for outcome in validate(workspace, dataset, noun)]


def _show(outcomes: list[tuple[str, Outcome]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("dataset", "artefact", "rule", ""):
        table.add_column(heading, no_wrap=True)
    table.add_column("what was found", overflow="fold")
    counts = dict.fromkeys(MARKS, 0)
    for dataset, outcome in outcomes:
        mark = "ok" if outcome.passed else outcome.severity
        counts[mark] += 1
        lines = [] if outcome.passed and not outcome.unexpected_count else [outcome.summary]
        if not outcome.passed:
            lines = [outcome.rule.description, *lines, *map(str, outcome.rows)]
        table.add_row(dataset, outcome.rule.noun, outcome.rule.name, MARKS[mark], escape("\n".join(lines)))
    console = Console()
    console.print(table)
    console.print(f"\n{counts['ok']} ok, {counts['warning']} warnings, {counts['critical']} failed")
