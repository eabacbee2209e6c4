"""Drift: has a column's distribution moved since the last release? By the population stability index (drift.py)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider

from mufin_dagster.drift import stability, terms
from mufin_dagster.quality.evidence import stability_by_chance
from mufin_dagster.quality.expectations.judged import Found, Judged, whole_frame

NOW, THEN = "now", "release"
"""The values of `era`."""

MOVED = 0.02
"""Part of the index from which on a bin is told as offending."""


class PopulationStability(TableMetricProvider):
    """The index; the rows are the bins that moved, most first."""

    metric_name = "table.population_stability"
    value_keys = ("column", "era")

    @metric_value(engine=PandasExecutionEngine)
    def _pandas(
        cls,
        execution_engine: PandasExecutionEngine,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any],
    ) -> Found:
        frame = whole_frame(execution_engine, metric_domain_kwargs)
        values = frame[metric_value_kwargs["column"]].to_numpy(dtype=np.float64)
        era = frame[metric_value_kwargs["era"]]
        then, now = (values[(era == which).to_numpy(dtype=bool)] for which in (THEN, NOW))
        if not len(then) or not len(now):
            return Found(0, 0)
        edges, before, after = stability(then, now)
        parts = terms(before, after)
        moved = [place for place in np.argsort(-parts).tolist() if parts[place] >= MOVED]
        rows = [
            {
                "from": round(float(edges[place]), 4),
                "to": round(float(edges[place + 1]), 4),
                "share_then": round(float(before[place]), 4),
                "share_now": round(float(after[place]), 4),
            }
            for place in moved
        ]
        noise = stability_by_chance(len(then), len(now), len(parts))
        return Found(len(parts), len(moved), rows, float(parts.sum()), noise)


class ExpectColumnPopulationToBeStable(Judged):
    """Expect a column's values to be distributed as they were in the last release.

    Args:
        column: numbers.
        era: column that says of which version a row is, "now" or "release".
        max_value: the largest population stability index.
    """

    column: str
    era: str

    metric_dependencies: ClassVar[tuple[str, ...]] = ("table.population_stability",)
    success_keys: ClassVar[tuple[str, ...]] = ("column", "era", "max_value")
    nothing: ClassVar[str] = "no release to compare with"

    def tells(self, found: Found) -> bool:
        return found.value is not None and found.value > found.noise
