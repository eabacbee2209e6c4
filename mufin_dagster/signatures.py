"""How this method fails, as asset checks with thresholds: weak tail labels, slow inference, runs that disagree.

Warnings and not errors: the release gate decides what is served, these say where to look.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from mufin_dagster.identity import TAG
from mufin_dagster.pipeline import Stage
from mufin_dagster.settings import Automation
from mufin_model.artefacts import Workspace, read_json
from mufin_model.evaluation.buckets import enough

REPORT, PREDICTIONS = "eval_report", "predictions"
FEW_ITEMS = 100
"""Test items below which loading takes most of the time of `predict`."""
RUNS = 20
"""Earlier reports that are looked through for one of the same identity."""

Finding = tuple[bool, str, dict[str, Any]]
"""Whether it passed, a sentence, and the figures."""


def build(workspace: Workspace, stages: Sequence[Stage], settings: Automation) -> list[dg.AssetChecksDefinition]:
    """The checks of every dataset that has a report and predictions."""
    keys = {stage.key for stage in stages}
    made = []
    for dataset in dict.fromkeys(stage.dataset for stage in stages):
        if (dataset, REPORT) in keys:
            made.append(_check(dataset, REPORT, "tail_labels_are_served", _tail(workspace, dataset, settings)))
            made.append(_check(dataset, REPORT, "runs_agree", _agreement(dataset, settings)))
        if (dataset, PREDICTIONS) in keys:
            made.append(_check(dataset, PREDICTIONS, "inference_is_fast", _speed(workspace, dataset, settings)))
    return made


def _check(
    dataset: str, noun: str, name: str, judge: Callable[[dg.DagsterInstance], Finding]
) -> dg.AssetChecksDefinition:
    spec = dg.AssetCheckSpec(name, asset=[dataset, noun], description=(judge.__doc__ or "").strip())

    def check(context) -> dg.AssetCheckResult:  # type: ignore[no-untyped-def]  # Dagster takes no string annotation
        passed, told, figures = judge(context.instance)
        return dg.AssetCheckResult(
            passed=passed, severity=dg.AssetCheckSeverity.WARN, description=told, metadata=figures
        )

    step = re.sub(r"\W", "_", f"signature__{dataset}__{name}")
    return dg.asset_check(asset=spec.asset_key, name=name, description=spec.description)(_named(check, step))


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    function.__name__ = name
    return function


def _tail(workspace: Workspace, dataset: str, settings: Automation) -> Callable[[dg.DagsterInstance], Finding]:
    def judge(_: dg.DagsterInstance) -> Finding:
        """Recall@10 of the rarest labels, as a share of the best bucket's; below the threshold the tail is lost."""
        metrics = read_json(workspace.read(dataset, REPORT) / "metrics.json")
        return tail(metrics.get("buckets", {}).get("mufin", {}), settings.weak_tail)

    return judge


def tail(buckets: Mapping[str, Mapping[str, float]], threshold: float) -> Finding:
    """Judge the buckets of metrics.json, the rarest labels first.

    Args:
        buckets: name to `{"recall_10": ..., "links": ...}`, in any order; names are ranges of training items, as in
            1-2 and >50. Buckets of too few true links are left out.
        threshold: share of the best bucket's recall that the rarest must reach.
    """
    ordered = sorted((name for name in buckets if enough(buckets[name])), key=_lowest)
    recalls = [float(buckets[name]["recall_10"]) for name in ordered]
    if len(recalls) < 2 or not max(recalls):
        few = {name: int(buckets[name]["links"]) for name in buckets if name not in ordered}
        why = f"; too few true links to tell: {', '.join(f'{name} ({n})' for name, n in few.items())}" if few else ""
        return True, f"there are not two frequency buckets to compare{why}", {"buckets": len(recalls)}
    share = recalls[0] / max(recalls)
    told = f"labels of {ordered[0]} training items are found {share:.0%} as often as the best bucket's"
    figures = {"tail_share": share, "tail_recall_10": recalls[0], "best_recall_10": max(recalls)}
    return share >= threshold, told, {**figures, "threshold": threshold}


def _lowest(name: str) -> int:
    found = re.search(r"\d+", name)
    return int(found.group()) + name.startswith(">") if found else 0


def _speed(workspace: Workspace, dataset: str, settings: Automation) -> Callable[[dg.DagsterInstance], Finding]:
    def judge(_: dg.DagsterInstance) -> Finding:
        """Milliseconds a test item takes in `predict`, loading and choosing the fusion included."""
        summary = read_json(workspace.read(dataset, "raw_descriptors") / "summary.json")
        items = int(summary["items_by_split"]["test"])
        seconds = workspace.seconds(dataset).get(PREDICTIONS)
        if seconds is None or not items:
            return True, "predict has not run on this machine", {"test_items": items}
        if items < FEW_ITEMS:
            told = f"cannot tell from {items:,} test items in {seconds:.1f} s: most of it is loading"
            return True, told, {"test_items": items}
        milliseconds = 1000 * seconds / items
        told = f"{milliseconds:.1f} ms a test item, {items:,} in {seconds:.1f} s"
        passed = milliseconds <= settings.slow_inference
        return passed, told, {"milliseconds": milliseconds, "threshold": settings.slow_inference}

    return judge


def _agreement(dataset: str, settings: Automation) -> Callable[[dg.DagsterInstance], Finding]:
    def judge(instance: dg.DagsterInstance) -> Finding:
        """Metrics of earlier runs of the same data, code, settings and seed are the same."""
        key = dg.AssetKey([dataset, REPORT])
        records = instance.fetch_materializations(key, limit=RUNS + 1).records
        made = [record.asset_materialization for record in records if record.asset_materialization]
        if not made:
            return True, "no report yet", {}
        identity = (made[0].tags or {}).get(TAG)
        same = [numbers(one) for one in made[1:] if identity and (one.tags or {}).get(TAG) == identity]
        return agreement(numbers(made[0]), same, settings.disagreement)

    return judge


NOT_METRICS = {"seconds", "files", "megabytes", "peak_memory_mb", "gpu_peak_memory_mb", "gpu_utilisation"}


def numbers(made: dg.AssetMaterialization) -> dict[str, float]:
    """The metrics among a report's metadata."""
    found = {name: value.value for name, value in made.metadata.items() if name not in NOT_METRICS}
    return {name: float(value) for name, value in found.items() if isinstance(value, float)}


def agreement(now: Mapping[str, float], before: Sequence[Mapping[str, float]], threshold: float) -> Finding:
    """Judge metrics against those of earlier runs of the same identity."""
    apart = {name: max((abs(now[name] - one[name]) for one in before if name in one), default=0.0) for name in now}
    if not before or not apart:
        return True, "no earlier run of the same data, code, settings and seed", {"runs": len(before)}
    worst = max(apart, key=apart.__getitem__)
    figures = {"runs": len(before), "largest_difference": apart[worst], "threshold": threshold}
    told = f"{len(before)} earlier runs of the same identity; {worst} differs most, by {apart[worst]:.4g}"
    return apart[worst] <= threshold, told, figures
