"""What an artefact's files say, as Dagster metadata.

Read from the files and not from the run, so that a step which DVC found up to date shows the same. Plain numbers are
drawn by Dagster over time.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from mufin_dagster.pipeline import DATA, Stage
from mufin_model import run_mode
from mufin_model.artefacts import Workspace

Metadata = dict[str, Any]

LISTED = 200
"""Files of an artefact that are looked into; a release or a catalogue of loose files may hold many more."""


def describe(workspace: Workspace, stage: Stage) -> Metadata:
    """Metadata of one artefact: where, how large, how long it took, and what each kind of file in it tells."""
    folder = workspace.path(stage.dataset, stage.noun)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    told: Metadata = {
        "path": dg.MetadataValue.path(str(folder)),
        "files": len(files),
        "megabytes": round(sum(path.stat().st_size for path in files) / 1e6, 3),
    }
    if (seconds := workspace.seconds(stage.dataset).get(stage.noun)) is not None:
        told["seconds"] = float(seconds)
    told |= {name: float(figure) for name, figure in workspace.usage(stage.dataset, stage.noun).items()}
    for path in files[:LISTED]:
        reader = READERS.get(path.name) or READERS.get(path.suffix)
        if reader and not (path.suffix == ".json" and path.parent != folder):
            try:
                told |= reader(path, path.relative_to(folder).with_suffix("").as_posix())
            except (OSError, ValueError, KeyError) as error:
                told[f"unreadable {path.name}"] = str(error)
    if run_mode.kept(folder):
        told["mode"] = run_mode.REFRESH
    told["command"] = dg.MetadataValue.md(f"`{stage.cmd}`")
    told["versions"] = dg.MetadataValue.md(f"`dvc pull {DATA}{stage.dataset}/{stage.noun}`")
    return told


def metrics_table(metrics: Mapping[str, Any]) -> list[tuple[str, dict[str, float]]]:
    """Rows of metrics.json: each method with its figures, whatever else the file holds left out."""
    methods = metrics.get("methods") if isinstance(metrics.get("methods"), Mapping) else metrics
    assert isinstance(methods, Mapping)
    rows = [
        (str(name), {str(metric): float(value) for metric, value in figures.items() if _number(value)})
        for name, figures in methods.items()
        if isinstance(figures, Mapping)
    ]
    return [(name, figures) for name, figures in rows if figures]


def _parquet(path: Path, name: str) -> Metadata:
    from pyarrow import parquet

    told = parquet.read_metadata(path)
    return {f"{name} rows": told.num_rows}


def _numpy(path: Path, name: str) -> Metadata:
    import numpy as np

    array = np.load(path, mmap_mode="r")
    told: Metadata = {f"{name} shape": " × ".join(map(str, array.shape)), f"{name} rows": int(array.shape[0])}
    return told


def _sparse(path: Path, name: str) -> Metadata:
    import numpy as np

    with np.load(path) as arrays:
        if "shape" not in arrays or "indptr" not in arrays:
            return {}
        rows, columns = (int(side) for side in arrays["shape"])
        stored = int(arrays["indptr"][-1])
    return {f"{name} shape": f"{rows:,} × {columns:,}", f"{name} scores": stored}


def _metrics(path: Path, _: str) -> Metadata:
    metrics = json.loads(path.read_text())
    rows = metrics_table(metrics)
    if not rows:
        return _json(path, "metrics")
    told: Metadata = {"metrics": dg.MetadataValue.md(_markdown(rows))}
    return told | dict(dict(rows).get("mufin", rows[0][1]))


def _json(path: Path, name: str) -> Metadata:
    content = json.loads(path.read_text())
    if not isinstance(content, Mapping):
        return {}
    flat = dict(_flat(content))
    if name == "summary":
        return flat
    return {name: dg.MetadataValue.json(content)} if len(json.dumps(content)) < 20_000 else {}


def _curve(path: Path, _: str) -> Metadata:
    with path.open() as file:
        rows = [{key: float(value) for key, value in row.items() if key and value} for row in csv.DictReader(file)]
    if not rows:
        return {}
    told: Metadata = {"epochs": len(rows)}
    told |= {f"last {key}": value for key, value in rows[-1].items() if key not in ("epoch", "best")}
    kept = [int(row["epoch"]) for row in rows if row.get("best") == 1]
    told |= {"kept epoch": kept[0]} if kept else {}
    return told | {"curve": dg.MetadataValue.md(f"![loss and validation by epoch]({_plot(rows)})")}


def _plot(rows: Sequence[Mapping[str, float]]) -> str:
    """The curves as an inline picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2.6), dpi=90, layout="constrained")
    axes = figure.subplots(1, 2)
    kept = [row["epoch"] for row in rows if row.get("best") == 1]
    for axis, column, title in zip(axes, ("loss", "val_p1"), ("training loss", "P@1 on validation"), strict=True):
        at = [row.get("epoch", number) for number, row in enumerate(rows, 1) if column in row]
        axis.plot(at, [row[column] for row in rows if column in row], marker=".", color="#4f43dd")
        for epoch in kept:
            axis.axvline(epoch, linestyle=":", color="#888888")
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("epoch", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"


def verdict_metadata(verdict: Mapping[str, Any]) -> Metadata:
    """What the release gate decided: who met, why, and each figure of both."""
    told: Metadata = {
        "decision": str(verdict["decision"]),
        "challenger": str(verdict["challenger"]),
        "held against": str(verdict["champion"] or "none before"),
    }
    for name, lines in (("why", verdict["reasons"]), ("notes", verdict.get("notes", []))):
        if lines:
            told[name] = dg.MetadataValue.md("\n".join(f"- {line}" for line in lines))
    if compared := verdict.get("compared"):
        told["compared on"] = str(verdict["how"])
        # plain numbers: Dagster plots how far challengers were ahead or behind
        told |= {f"{one['name']} points": round(100 * (one["ours"] - one["theirs"]), 2) for one in compared}
        rows = [
            "| | challenger | current | points | 95 % interval | worse by more than | risk | |",
            "|---|---:|---:|---:|---:|---:|---:|---|",
        ]
        for one in compared:
            ahead, low, high = (100 * x for x in (one["ours"] - one["theirs"], one["low"], one["high"]))
            state = "refused" if not one["passed"] else "passed" if one["decides"] else "too few to decide"
            rows.append(
                f"| {one['name']} | {100 * one['ours']:.2f} | {100 * one['theirs']:.2f} | {ahead:+.2f}"
                f" | {low:+.2f} to {high:+.2f} | {100 * one['tolerance']:g} | {one['risk']:.0%} | {state} |"
            )
        told["comparison"] = dg.MetadataValue.md("\n".join(rows))
    return told


def _verdict(path: Path, _: str) -> Metadata:
    return verdict_metadata(json.loads(path.read_text()))


def _manifest(path: Path, _: str) -> Metadata:
    """Of a release: its name, its figures, what it was made of; not the list of its files."""
    manifest = json.loads(path.read_text())
    told: Metadata = {f"served {name}": float(value) for name, value in manifest.get("served_metrics", {}).items()}
    if "provenance" in manifest:
        told["provenance"] = dg.MetadataValue.json(manifest["provenance"])
    return {"release": str(manifest["release"]), **told} if "release" in manifest else told


def _report(path: Path, _: str) -> Metadata:
    return {"report": dg.MetadataValue.path(str(path))}


def _markdown(rows: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    columns = list(dict.fromkeys(metric for _, figures in rows for metric in figures))
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for name, figures in rows:
        cells = [f"{figures[column]:.2f}" if column in figures else "" for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _flat(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in content.items():
        if _number(value):
            found.append((f"{prefix}{name}", value))
        elif isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name} ")
    return found


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


READERS: dict[str, Callable[[Path, str], Metadata]] = {
    "loss.csv": _curve,
    "metrics.json": _metrics,
    "report.html": _report,
    "verdict.json": _verdict,
    "manifest.json": _manifest,
    ".parquet": _parquet,
    ".npy": _numpy,
    ".npz": _sparse,
    ".json": _json,
}
"""By file name, then by suffix. tokenizer.json and its like are too long to be shown, and left out."""
