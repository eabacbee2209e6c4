"""What our expectations share: a table metric that finds the offending rows, and an expectation that weighs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd
from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation

KEPT = 20
"""Offending rows handed over."""


@dataclass(frozen=True)
class Found:
    """What a metric saw.

    Attributes:
        asked: rows that were judged.
        noise: a value that chance may reach in a sample of that size.
        offending: how many of them break the expectation.
        rows: the first of these, each a mapping.
        value: what the expectation's bound is held against; None where there was nothing to see.
    """

    asked: int
    offending: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    value: float | None = None
    noise: float = 0.0


def whole_frame(execution_engine: PandasExecutionEngine, metric_domain_kwargs: dict[str, Any]) -> pd.DataFrame:
    """The table that a metric is asked about."""
    frame, _, _ = execution_engine.get_compute_domain(metric_domain_kwargs, domain_type=MetricDomainTypes.TABLE)
    return frame


class Judged(BatchExpectation):
    """Expect the `value` that the metric found to be `max_value` at most.

    Args:
        max_value: the largest that passes.
    """

    max_value: float

    success_keys: ClassVar[tuple[str, ...]] = ("max_value",)
    nothing: ClassVar[str] = "nothing to compare with"
    """Observed where there was nothing to see, which passes."""

    def tells(self, found: Found) -> bool:
        """Whether a value beyond the bound is more than chance may do in a sample of that size."""
        return True

    @classmethod
    def is_abstract(cls) -> bool:
        return not cls.metric_dependencies

    def _validate(
        self, metrics: dict[str, Any], runtime_configuration: dict[str, Any] | None = None, execution_engine: Any = None
    ) -> dict[str, Any]:
        found: Found = metrics[self.metric_dependencies[0]]
        within = found.value is None or found.value <= self.max_value
        observed: Any = self.nothing if found.value is None else round(found.value, 4)
        if not within and not self.tells(found):
            within, observed = True, f"cannot tell: {observed:g} may be chance in so small a sample"
        return {
            "success": within,
            "result": {
                "observed_value": observed,
                "element_count": found.asked,
                "unexpected_count": found.offending,
                "unexpected_percent": 100 * found.offending / max(1, found.asked),
                "partial_unexpected_index_list": found.rows,
            },
        }
