"""What a validation found, as it is written: the JSON result, from which the table, JUnit and the page are made too.

The JSON Schema of `Result` is docs/validate.schema.json (docs/ci.md tells it in words).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mufin_dagster.quality import pictures
from mufin_dagster.quality.rule import CRITICAL, WARNING, Severity
from mufin_model.errors import MufinError

if TYPE_CHECKING:
    from mufin_dagster.quality.frames import Source
    from mufin_dagster.quality.validator import Outcome

VERSION = 1
"""Of the schema: a field that changes its meaning or goes away makes it one more."""

Verdict = Literal["passed", "warnings", "failed"]
Cell = str | int | float | bool | None


class Model(BaseModel):
    """A part of the result; nothing unknown is read."""

    model_config = ConfigDict(extra="forbid")


class Expectation(Model):
    """One expectation, judged."""

    name: str = Field(description="Unique within its artefact; also the asset check's name.")
    description: str = Field(description="What holds when it passes, in a sentence.")
    severity: Severity = Field(description="critical: a failure blocks what follows; warning: it is shown.")
    passed: bool
    kind: str = Field(description="Class name of the expectation.")
    arguments: dict[str, Any] = Field(description="Of the expectation.")
    table: str = Field(description="The summary table that it is about (docs/quality.md).")
    rows: int = Field(description="Of that table.")
    unexpected: int = Field(description="Rows that break it; a tolerated share breaks a passed one too.")
    unexpected_percent: float = Field(description="These in per cent of the rows.")
    observed: Cell = Field(description="The value seen, where the expectation is about one value.")
    found: str = Field(description="What was found, in a line for people.")
    error: str = Field(description="Why it could not be judged, which is a failure; empty otherwise.")
    first: list[dict[str, Cell]] = Field(description="The first offending rows: column to value.")
    pictures: list[list[str]] = Field(
        default=[],
        description="Of each of these rows its picture, and that of what it is near to, as data: addresses.",
    )


class Suite(Model):
    """All expectations of one artefact of one dataset."""

    dataset: str
    artefact: str = Field(description="A noun of the pipeline, such as raw_descriptors.")
    judged_at: str = Field(description="ISO 8601, UTC.")
    seconds: float = Field(description="That judging took.")
    expectations: list[Expectation]

    def failed(self, severity: Severity) -> list[Expectation]:
        """Its expectations of that severity that do not hold."""
        return [one for one in self.expectations if not one.passed and one.severity == severity]


class Fault(Model):
    """What kept a dataset from being judged: an error of `mufin ingest`, or that there is nothing yet."""

    dataset: str
    kind: str = Field(description="Class name of the error, such as CatalogError.")
    severity: Severity
    what: str = Field(description="The fault in one sentence.")
    where: str = Field(description="File and column, where there are.")
    rows: list[str] = Field(description="The first offending rows or values.")
    mend: str = Field(description="What to do about it.")


class Chart(Model):
    """Bars: a share from 0 to 1 of each series in each group."""

    title: str
    note: str
    groups: list[str]
    series: dict[str, list[float]]


class Portrait(Model):
    """A dataset in figures."""

    dataset: str
    counts: dict[str, int]
    charts: list[Chart]


class Result(Model):
    """A whole validation."""

    version: int = Field(default=VERSION, description="Of this schema.")
    verdict: Verdict = Field(description="failed: a critical expectation or an ingest did; warnings: others did.")
    exit_code: Literal[0, 1, 2] = Field(description="Of the command: 2 failed, 1 warnings with --strict, else 0.")
    subject: str = Field(description="What was judged: a catalogue's folder, a revision, or the project's datasets.")
    strict: bool
    judged_at: str = Field(description="ISO 8601, UTC.")
    passed: int = Field(description="Expectations that hold.")
    warnings: int = Field(description="Warnings among expectations and faults.")
    failures: int = Field(description="Critical expectations and faults.")
    faults: list[Fault]
    suites: list[Suite]
    portraits: list[Portrait]

    @classmethod
    def of(
        cls,
        subject: str,
        suites: Sequence[Suite],
        faults: Sequence[Fault] = (),
        portraits: Sequence[Portrait] = (),
        strict: bool = False,
    ) -> Result:
        """Count and decide."""
        counts = {
            severity: sum(len(suite.failed(severity)) for suite in suites)
            + sum(fault.severity == severity for fault in faults)
            for severity in (WARNING, CRITICAL)
        }
        verdict: Verdict = "failed" if counts[CRITICAL] else "warnings" if counts[WARNING] else "passed"
        return cls(
            verdict=verdict,
            exit_code=2 if counts[CRITICAL] else 1 if counts[WARNING] and strict else 0,
            subject=subject,
            strict=strict,
            judged_at=now(),
            passed=sum(one.passed for suite in suites for one in suite.expectations),
            warnings=counts[WARNING],
            failures=counts[CRITICAL],
            faults=list(faults),
            suites=list(suites),
            portraits=list(portraits),
        )

    @property
    def datasets(self) -> list[str]:
        """Of which there is something to tell."""
        names = [suite.dataset for suite in self.suites] + [fault.dataset for fault in self.faults]
        return list(dict.fromkeys(names))


def suite(source: Source, artefact: str, outcomes: Sequence[Outcome], seconds: float) -> Suite:
    """What the validator found of one artefact of the source's dataset."""
    told = [_expectation(source, outcome) for outcome in outcomes]
    return Suite(
        dataset=source.dataset, artefact=artefact, judged_at=now(), seconds=round(seconds, 2), expectations=told
    )


def fault(dataset: str, error: BaseException, severity: Severity = CRITICAL) -> Fault:
    """An error as a result; one that is no user's mistake too, since a report must say so."""
    if isinstance(error, MufinError):
        rows = [str(row) for row in error.rows[: error.SHOWN]]
        if len(error.rows) > error.SHOWN:
            rows.append(f"… and {len(error.rows) - error.SHOWN:,} more")
        what, where, mend = error.what, error.where, error.mend
    else:
        what, where, rows = "reading it broke off, for a reason that no rule tells", "", [str(error)[:500]]
        mend = "`mufin ingest` shows where; no catalogue should do this, so please report it"
    return Fault(
        dataset=dataset, kind=type(error).__name__, severity=severity, what=what, where=where, rows=rows, mend=mend
    )


def now() -> str:
    """ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _expectation(source: Source, outcome: Outcome) -> Expectation:
    rule = outcome.rule
    return Expectation(
        name=rule.name,
        description=rule.description,
        severity=rule.severity,
        passed=outcome.passed,
        kind=rule.expectation,
        arguments=dict(rule.kwargs),
        table=rule.table,
        rows=outcome.element_count,
        unexpected=outcome.unexpected_count,
        unexpected_percent=outcome.unexpected_percent,
        observed=cell(outcome.observed),
        found=outcome.summary,
        error=outcome.error,
        first=[cells(row) for row in outcome.rows],
        pictures=[] if outcome.passed else pictures.of(source, rule, outcome.rows),
    )


def cells(row: Mapping[str, Any]) -> dict[str, Cell]:
    """A row as JSON can hold it."""
    return {str(name): cell(value) for name, value in row.items()}


def cell(value: Any) -> Cell:
    """A value as JSON can hold it: what is no number of JSON's, and what is no plain value, is told as text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)
