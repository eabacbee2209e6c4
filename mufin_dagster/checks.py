"""The quality rules as asset checks: a failed critical rule blocks the stages after its artefact.

One check step judges all rules of an artefact in one Great Expectations context, imported only in that step.
"""
# No `from __future__ import annotations`: Dagster reads the annotation of `context` itself.

import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from mufin_dagster import execution
from mufin_dagster.quality import rules
from mufin_model.artefacts import Workspace

if TYPE_CHECKING:
    from mufin_dagster.pipeline import Stage
    from mufin_dagster.quality.validator import Outcome

# Great Expectations reads it when imported, which the executor's fork server does before any check runs.
os.environ["GX_ANALYTICS_ENABLED"] = "false"


def build(stages: Iterable["Stage"]) -> list[dg.AssetChecksDefinition]:
    """The checks of every dataset's artefacts that have rules.

    Args:
        stages: the pipeline's stages, of all datasets.
    """
    return [_checks(stage.dataset, stage.noun) for stage in stages if rules.of(stage.noun)]


def _checks(dataset: str, noun: str) -> dg.AssetChecksDefinition:
    key = dg.AssetKey([dataset, noun])
    specs = [
        dg.AssetCheckSpec(
            name=rule.name,
            asset=key,
            description=rule.description,
            blocking=rule.severity == rules.CRITICAL,
            metadata={"expectation": rule.expectation, "arguments": dict(rule.kwargs), "table": rule.table},
        )
        for rule in rules.of(noun)
    ]

    @dg.multi_asset_check(
        name=re.sub(r"\W", "_", f"quality__{dataset}__{noun}"),
        specs=specs,
        can_subset=True,
        description=f"Great Expectations rules of {noun}.",
        op_tags=execution.op_tags(execution.Need(cpu=1, memory_gb=2)),
    )
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from mufin_dagster.quality.frames import Source
        from mufin_dagster.quality.kept import keep
        from mufin_dagster.quality.validator import validate

        names = {check.name for check in context.selected_asset_check_keys}
        workspace, began = Workspace.find(), time.monotonic()
        outcomes = validate(workspace, dataset, noun, names)
        page = keep(Source(workspace, dataset), noun, outcomes, time.monotonic() - began)
        context.log.info(f"quality report: {page}")
        for outcome in outcomes:
            yield _result(key, outcome, page)

    return checks


def _result(key: dg.AssetKey, outcome: "Outcome", page: Path) -> dg.AssetCheckResult:
    critical = outcome.severity == rules.CRITICAL
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=outcome.rule.name,
        passed=outcome.passed,
        severity=dg.AssetCheckSeverity.ERROR if critical else dg.AssetCheckSeverity.WARN,
        description=outcome.summary,
        metadata=_metadata(outcome, page),
    )


def _metadata(outcome: "Outcome", page: Path) -> dict[str, Any]:
    """Numbers (Dagster plots their history), the observed value, the first offending rows, the quality report."""
    metadata: dict[str, Any] = {
        "quality_report": dg.MetadataValue.path(str(page)),
        "rows": outcome.element_count,
        "unexpected_count": outcome.unexpected_count,
        "unexpected_percent": outcome.unexpected_percent,
    }
    if isinstance(outcome.observed, int | float):
        metadata["observed"] = outcome.observed
    elif outcome.observed is not None:
        metadata["observed"] = str(outcome.observed)
    if outcome.error:
        metadata["error"] = dg.MetadataValue.md(f"```\n{outcome.error}\n```")
    if outcome.rows:
        metadata["first_rows"] = dg.MetadataValue.table(
            [dg.TableRecord({str(k): _cell(v) for k, v in row.items()}) for row in outcome.rows]
        )
    return metadata


def _cell(value: Any) -> str | int | float | bool:
    return value if isinstance(value, str | int | float | bool) else str(value)
