"""Rules against an artefact, by Great Expectations in a context of its own that leaves nothing on disk.

for outcome in validate(Workspace.find(), "demo", "raw_descriptors"): ...
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mufin_dagster.quality import evidence, expectations, frames, rules
from mufin_dagster.quality.rules import WARNING, Rule, Severity
from mufin_model.artefacts import Workspace
from mufin_model.errors import MufinError

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 5
"""Offending rows kept with an outcome."""


@dataclass(frozen=True)
class Outcome:
    """What became of one rule.

    Attributes:
        passed: the expectation holds.
        unexpected_count: rows that break it (a tolerated share breaks it in a passed rule too).
        unexpected_percent: these in percent of the rows asked.
        element_count: rows of the table.
        rows: the first of them, each a mapping of the table's columns.
        observed: the value an expectation about a whole column saw; None for one about values.
        error: why the rule could not be judged, which counts as not passed; "" otherwise.
    """

    rule: Rule
    passed: bool
    unexpected_count: int = 0
    unexpected_percent: float = 0.0
    element_count: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    observed: Any = None
    error: str = ""

    @property
    def severity(self) -> Severity:
        return self.rule.severity

    @property
    def summary(self) -> str:
        """One line for people."""
        if self.error:
            return self.error.strip().splitlines()[0]
        rows = f"{self.element_count:,} row{'' if self.element_count == 1 else 's'}"
        most = self.rule.kwargs.get("max_value")
        if isinstance(self.observed, int | float) and most is not None:
            return f"{self.observed:.4g}, at most {most:g} wanted ({self.unexpected_count:,} of {rows})"
        if self.observed is not None:
            return f"{self.observed}"
        if not self.element_count:
            return "no rows"
        if not self.unexpected_count:
            return f"none of {rows} breaks it"
        return f"{self.unexpected_count:,} of {rows} break it"


Keep = Callable[[str, Any], None]
"""Is given a table's name and Great Expectations' own report of it."""


def validate(
    workspace: Workspace,
    dataset: str,
    noun: str,
    names: Collection[str] | None = None,
    keep: Keep | None = None,
) -> list[Outcome]:
    """Judge an artefact by its rules, in their order.

    Args:
        workspace: the project.
        dataset: one of its datasets.
        noun: the artefact.
        names: only these rules; all of the noun's where None.
        keep: is given each table's report as Great Expectations makes it.

    Raises:
        ArtefactError: the artefact does not exist yet. Damage within it fails the rules instead.
    """
    workspace.read(dataset, noun)
    source = frames.Source(workspace, dataset)
    chosen = rules.of(noun, names)
    outcomes: dict[str, Outcome] = {}
    for table in dict.fromkeys(rule.table for rule in chosen):
        asked = [rule for rule in chosen if rule.table == table]
        try:
            frame = frames.build(source, noun, table)
        except Exception as error:  # whatever is wrong with the files is what these rules are there to report
            outcomes |= {rule.name: Outcome(rule, False, error=_told(error)) for rule in asked}
            continue
        outcomes |= {outcome.rule.name: outcome for outcome in judge(frame, asked, table, keep)}
    return [outcomes[rule.name] for rule in chosen]


def judge(frame: pd.DataFrame, asked: Collection[Rule], table: str = "", keep: Keep | None = None) -> list[Outcome]:
    """The rules of one table against its frame."""
    # Read at import: without it an import behind a closed network waits for an analytics server.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    batch = (
        context.data_sources.add_pandas("frames")
        .add_dataframe_asset("table")
        .add_batch_definition_whole_dataframe("whole")
    )
    suite = context.suites.add(gx.ExpectationSuite(name="rules"))
    by_name = {rule.name: rule for rule in asked}
    for rule in asked:
        kind = expectations.find(rule.expectation)
        suite.add_expectation(kind(**rule.kwargs, severity=rule.severity, meta={"rule": rule.name}))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name="all", data=batch, suite=suite))
    report = definition.run(
        batch_parameters={"dataframe": frame},
        # Places in the frame. Asked for the columns, it would build a mapping of each offending row there is: half a
        # minute for a rule that 300,000 rows break, in place of a quarter of a second.
        result_format={"result_format": "SUMMARY", "partial_unexpected_count": SHOWN},
    )
    if keep is not None:
        keep(table, report)
    return [
        _outcome(by_name[result.expectation_config.meta["rule"]], frame, result.to_json_dict())
        for result in report.results
    ]


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, MufinError) else f"{type(error).__name__}: {error}"


def _outcome(rule: Rule, frame: pd.DataFrame, result: dict[str, Any]) -> Outcome:
    found = result.get("result") or {}
    error = _error(result.get("exception_info") or {})
    offending, asked = int(found.get("unexpected_count") or 0), int(found.get("element_count") or 0)
    passed, observed = bool(result["success"]), found.get("observed_value")
    if not passed and not error and not _tells(rule, offending, asked):
        passed, observed = True, f"cannot tell: {offending:,} of {asked:,} rows break it, too few rows to say more"
    return Outcome(
        rule,
        passed=passed,
        unexpected_count=offending,
        unexpected_percent=round(float(found.get("unexpected_percent") or 0.0), 3),
        element_count=asked,
        rows=[_row(frame, place) for place in list(found.get("partial_unexpected_index_list") or [])[:SHOWN]],
        observed=observed,
        error=error,
    )


def _tells(rule: Rule, offending: int, asked: int) -> bool:
    """Whether what breaks a rule is more than chance may do. One that tolerates no row is broken by any."""
    tolerated = 1.0 - float(rule.kwargs.get("mostly", 1.0))
    return rule.severity != WARNING or tolerated <= 0 or evidence.unlikely(offending, asked, tolerated)


def _row(frame: pd.DataFrame, found: int | Mapping[str, Any]) -> dict[str, Any]:
    """An offending row, which one of our own expectations tells itself, in Python's own values for JSON and Dagster."""
    row = found if isinstance(found, Mapping) else frame.iloc[found].to_dict()
    return {str(name): value.item() if isinstance(value, np.generic) else value for name, value in row.items()}


def _error(info: dict[str, Any]) -> str:
    """The first message in exception_info, which is one record or, by metric, several."""
    if "raised_exception" in info:
        return str(info.get("exception_message") or "") if info["raised_exception"] else ""
    for record in info.values():
        if isinstance(record, dict) and record.get("raised_exception"):
            return str(record.get("exception_message"))
    return ""
