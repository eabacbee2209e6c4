"""`mufin demo`: from nothing to a report, on a catalogue that it draws itself."""

from __future__ import annotations

import os
import shutil

from mufin_dagster import versioning
from mufin_dagster.describe import metrics_table
from mufin_dagster.materialize import materialize
from mufin_model.artefacts import CATALOG, Workspace, read_json
from mufin_model.config import load
from mufin_model.progress import say

DATASET = "demo"


def run(workspace: Workspace, items: int) -> bool:
    """Draw the catalogue where there is none, materialize every stage, print the figures.

    Args:
        workspace: the project.
        items: how many items to draw.

    Returns:
        Whether all stages passed.
    """
    settings = load(workspace.params, DATASET)
    catalog = workspace.catalog(DATASET)
    if not catalog.exists():
        from mufin_model.catalog import synthetic

        say(f"drawing a catalogue of {items:,} items into {catalog.relative_to(workspace.root)}")
        aside = catalog.with_name(f".{CATALOG}.{os.getpid()}")
        try:
            synthetic.write(aside, items, settings.seed)
            os.rename(aside, catalog)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    if not catalog.with_name(f"{CATALOG}.dvc").exists():
        versioning.dvc(workspace.root, "add", str(catalog.relative_to(workspace.root)))
    if not materialize(workspace, [DATASET], []):
        return False
    _show(workspace)
    return True


def _show(workspace: Workspace) -> None:
    from rich.console import Console
    from rich.table import Table

    report = workspace.path(DATASET, "eval_report")
    rows = metrics_table(read_json(report / "metrics.json"))
    columns = list(dict.fromkeys(metric for _, figures in rows for metric in figures))[:8]
    table = Table(title="Test items of the demo", title_justify="left", header_style="bold", box=None, pad_edge=False)
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for name, figures in rows:
        table.add_row(name, *(f"{figures[column]:.2f}" if column in figures else "" for column in columns))
    console = Console()
    console.print()
    console.print(table)
    console.print(f"\nthe report: {report / 'report.html'}\nall of it in the browser: make ui", soft_wrap=True)
