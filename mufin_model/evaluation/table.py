"""One table of metrics, shown three ways: in a terminal, in a log, in Markdown."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

NAMES: dict[str, str] = {
    "popularity": "popularity",
    "tfidf_knn": "TF-IDF nearest neighbours",
    "tfidf_one_vs_all": "TF-IDF one-vs-all SVM",
    "sentence_knn": "sentence embedding nearest neighbours",
    "image_knn": "image nearest neighbours",
    "text_only": "MUFIN, text only",
    "image_only": "MUFIN, images only",
    "siamese": "MUFIN, siamese score only",
    "classifier": "MUFIN, classifiers only",
    "head": "MUFIN, one-vs-all head only",
    "neighbours": "MUFIN, neighbours only",
    "ridge": "MUFIN, ridge only",
    "reranker": "MUFIN, ridge re-ranked only",
    "mufin": "MUFIN",
}
"""Methods in the order of the table, with their names for people."""

COLUMNS = ("P@1", "P@3", "P@5", "nDCG@5", "PSP@1", "PSP@5", "R@10", "R@100", "wnDCG@5", "wR@10")
"""Metrics shown where there is little room; metrics.json holds all."""


def in_order(metrics: Mapping[str, Mapping[str, float]]) -> list[tuple[str, Mapping[str, float]]]:
    """The methods of metrics.json in the order of `NAMES`, with the names for people."""
    return [(label, metrics[name]) for name, label in NAMES.items() if name in metrics]


def columns(rows: Sequence[tuple[str, Mapping[str, float]]], wanted: Sequence[str] = COLUMNS) -> list[str]:
    """Those of `wanted` that any row has, or else all that the rows have."""
    known = list(dict.fromkeys(metric for _, figures in rows for metric in figures))
    return [name for name in wanted if name in known] or known


def plain(rows: Sequence[tuple[str, Mapping[str, float]]], wanted: Sequence[str] = COLUMNS) -> str:
    """Aligned text; fractions as per cent with two decimals."""
    head = ["", *columns(rows, wanted)]
    body = [[name, *(_cell(figures, column) for column in head[1:])] for name, figures in rows]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [head, *body]
    )


def markdown(rows: Sequence[tuple[str, Mapping[str, float]]], wanted: Sequence[str] = COLUMNS) -> str:
    """A Markdown table, in per cent; its last row is bold."""
    head = columns(rows, wanted)
    lines = ["| |" + "".join(f" {column} |" for column in head), "|---|" + "---:|" * len(head)]
    for number, (name, figures) in enumerate(rows):
        mark = "**" if number == len(rows) - 1 and len(rows) > 1 else ""
        cells = [name, *(_cell(figures, column) for column in head)]
        lines.append("|" + "".join(f" {mark}{cell}{mark} |" if cell else " |" for cell in cells))
    return "\n".join(lines)


def show(rows: Sequence[tuple[str, Mapping[str, float]]], title: str, wanted: Sequence[str] = COLUMNS) -> None:
    """Print the table: drawn by rich in a terminal, as plain aligned lines elsewhere."""
    if not sys.stdout.isatty():
        print(f"{title}\n{plain(rows, wanted)}", flush=True)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    table.add_column("")
    head = columns(rows, wanted)
    for column in head:
        table.add_column(column, justify="right")
    for number, (name, figures) in enumerate(rows):
        style = "bold green" if number == len(rows) - 1 else None
        table.add_row(name, *(_cell(figures, column) for column in head), style=style)
    Console().print(table)


def _cell(figures: Mapping[str, float], column: str) -> str:
    return f"{100 * figures[column]:.2f}" if column in figures else ""
