"""What a run in a shell ends with: metrics, failed checks, the report's path and the next command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mufin_model.artefacts import Workspace, read_json
from mufin_model.evaluation.floor import BASELINES
from mufin_model.evaluation.table import NAMES

METRICS = ("P@1", "P@5", "R@10")


def lines(workspace: Workspace, dataset: str, failed: Sequence[tuple[str, str, str]], passed: bool) -> list[str]:
    """The end of a run of one dataset.

    Args:
        workspace: the project.
        dataset: its name.
        failed: checks that failed: stage, name and severity (critical or warning).
        passed: whether every stage of the dataset and every critical check passed.
    """
    found = [dataset]
    report = workspace.path(dataset, "eval_report")
    if (report / "metrics.json").is_file():
        found += [f"  {line}" for line in _metrics(read_json(report / "metrics.json"))]
    found += [f"  {severity}: {stage} {name}" for stage, name, severity in sorted(failed, key=lambda one: one[2])]
    if (report / "report.html").is_file():
        found.append(f"  report: {report / 'report.html'}")
    return [*found, f"  next: {_next(workspace, dataset, passed)}"]


def _metrics(metrics: Mapping[str, Any]) -> list[str]:
    """MUFIN's metrics on test items in percent, and under them those of the baseline with the highest first one."""
    ours = metrics.get("mufin", {})
    columns = [name for name in METRICS if name in ours]
    rivals = [name for name in BASELINES if metrics.get(name)]
    if not columns:
        return []
    best = max(rivals, key=lambda name: metrics[name].get(columns[0], 0.0), default=None)
    rows = [("mufin", ours), *([(NAMES[best], metrics[best])] if best else [])]
    width = max(len(name) for name, _ in rows)
    return [
        f"{'':{width}}" + "".join(f"{name:>7}" for name in columns),
        *(f"{name:{width}}" + "".join(_percent(held.get(column)) for column in columns) for name, held in rows),
    ]


def _percent(value: float | None) -> str:
    return f"{'-':>7}" if value is None else f"{100 * value:7.1f}"


def _next(workspace: Workspace, dataset: str, passed: bool) -> str:
    if not passed:
        return f"mend what failed, then mufin materialize -d {dataset}"
    if not workspace.path(dataset, "released_model").is_dir():
        return f"mufin status -d {dataset}"
    return f"mufin serve -d {dataset}"
