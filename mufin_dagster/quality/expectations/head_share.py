"""How much of all that is counted lies with the most frequent few: the steepness of a long tail."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider

from mufin_dagster.quality.expectations.judged import KEPT, Found, Judged, whole_frame

SMALLEST = 1.0
"""Labels in the head, below which it is no head."""


class HeadShare(TableMetricProvider):
    """The share of a column's sum in its largest values; the rows are these."""

    metric_name = "table.head_share"
    value_keys = ("column", "head")

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
        counts = frame[metric_value_kwargs["column"]].to_numpy(dtype=np.float64)
        order = np.argsort(-counts, kind="stable")[: math.ceil(metric_value_kwargs["head"] * len(counts))]
        total = counts.sum()
        rows = frame.iloc[order[:KEPT]].to_dict("records")
        return Found(len(counts), len(order), rows, float(counts[order].sum() / total) if total else None)


class ExpectColumnHeadShareToBeBelow(Judged):
    """Expect the largest values of a column not to hold most of its sum.

    Args:
        column: counts.
        head: which share of the rows, the largest, is the head.
        max_value: the largest share of the sum that the head may hold.
    """

    column: str
    head: float

    metric_dependencies: ClassVar[tuple[str, ...]] = ("table.head_share",)
    success_keys: ClassVar[tuple[str, ...]] = ("column", "head", "max_value")

    def tells(self, found: Found) -> bool:
        # of fewer labels the largest one is more than such a share of them
        return found.asked * self.head >= SMALLEST
