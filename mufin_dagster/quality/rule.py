"""What a rule is, and the words that suites are written in. Nothing here imports Great Expectations (seven seconds)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["critical", "warning"]
CRITICAL: Severity = "critical"
"""Stops every later stage."""
WARNING: Severity = "warning"
"""Is shown and stops nothing."""


@dataclass(frozen=True)
class Rule:
    """One expectation about one summary table of one artefact.

    Attributes:
        name: unique within its noun; the asset check's name.
        noun: the artefact, as in `mufin_model.artefacts.NOUNS`.
        table: a key of TABLES in the module `mufin_dagster.quality.<noun>`.
        expectation: a class name in `great_expectations.expectations` or a key of `expectations.OWN`.
        kwargs: its arguments.
        severity: "critical" (blocking) or "warning".
        description: what holds when the rule passes, in a sentence.
    """

    name: str
    noun: str
    table: str
    expectation: str
    kwargs: Mapping[str, Any]
    severity: Severity
    description: str


UNIQUE = "ExpectColumnValuesToBeUnique"
NOT_NULL = "ExpectColumnValuesToNotBeNull"
IN_SET = "ExpectColumnValuesToBeInSet"
BETWEEN = "ExpectColumnValuesToBeBetween"
EQUAL = "ExpectColumnPairValuesToBeEqual"
NEW_TEXT = "ExpectTestTextsToBeNew"
NEW_PICTURE = "ExpectTestPicturesToBeNew"
HEAD_SHARE = "ExpectColumnHeadShareToBeBelow"
STABLE = "ExpectColumnPopulationToBeStable"

PAIR: Mapping[str, Any] = {"column_A": "expected", "column_B": "found"}
"""Of EQUAL."""


def none(column: str, mostly: float = 1.0) -> dict[str, Any]:
    """Arguments of BETWEEN: a count of zero."""
    return {"column": column, "min_value": 0, "max_value": 0, "mostly": mostly}


def some(column: str, mostly: float = 1.0) -> dict[str, Any]:
    """Arguments of BETWEEN: a count of one at least."""
    return {"column": column, "min_value": 1, "mostly": mostly}


def least(column: str, value: float, mostly: float = 1.0) -> dict[str, Any]:
    """Arguments of BETWEEN: no smaller value."""
    return {"column": column, "min_value": value, "mostly": mostly}


def most(column: str, value: float, mostly: float = 1.0) -> dict[str, Any]:
    """Arguments of BETWEEN: no larger value."""
    return {"column": column, "max_value": value, "mostly": mostly}


def unit(column: str) -> dict[str, Any]:
    """Arguments of BETWEEN: a length of one."""
    # float16 rounds a coordinate by 2^-11 at most, and a norm by less than that
    return {"column": column, "min_value": 0.999, "max_value": 1.001}
