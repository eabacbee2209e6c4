"""`mufin demo`: from nothing to a report, on a catalogue that it draws itself."""

from __future__ import annotations

import os
import shutil

from mufin_dagster import versioning
from mufin_dagster.describe import metrics_table
from mufin_dagster.materialize import materialize
from mufin_model import owners
from mufin_model.artefacts import CATALOG, Workspace, read_json
from mufin_model.config import load
from mufin_model.progress import say

DATASET = "demo"
SHOWN = ("P@1", "P@3", "P@5", "nDCG@5", "PSP@1", "PSP@5", "R@10")
"""Metrics printed; the report has them all."""


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
        aside = catalog.with_name(f".{CATALOG}.{owners.token()}")
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
    rows.sort(key=lambda row: (row[0] != "mufin", -row[1].get("P@1", 0.0)))
    columns = [metric for metric in SHOWN if any(metric in figures for _, figures in rows)]
    table = Table(title="Test items, in percent", title_justify="left", header_style="bold", box=None, pad_edge=False)
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for name, figures in rows:
        style = "bold" if name == "mufin" else None
        table.add_row(name, *(f"{figures[c]:.1%}"[:-1] if c in figures else "" for c in columns), style=style)
    console = Console()
    console.print()
    console.print(table)
    console.print("\nall of it in the browser: make ui", soft_wrap=True)
