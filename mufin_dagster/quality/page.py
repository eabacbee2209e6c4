"""The quality report: one HTML file that opens offline, in light and dark, without scripts.

For a person who must decide: the verdict first, then what to mend, then how the data look, then every expectation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from mufin_dagster.quality.result import Expectation, Result, Suite
from mufin_dagster.quality.rule import CRITICAL, WARNING, Severity
from mufin_model.artefacts import write_text
from mufin_model.evaluation import charts

TEMPLATE = "report.html.j2"
LONGEST = 160
"""Signs of a value in a table of rows; the JSON result has them all."""

ABOUT: Mapping[str, str] = {
    "raw_descriptors": "the catalogue as ingested",
    "encoder_embeddings": "vectors of texts and images",
    "pretrained_model": "Module I: items and labels in one space",
    "anns_index": "Module II: the labels' index",
    "mined_negatives": "Module II: shortlists",
    "finetuned_classifiers": "Modules III and IV: a classifier a label",
    "predictions": "scores of the test items",
    "eval_report": "metrics, beside baselines and the release",
}
"""What an artefact is, in a few words."""


def write(result: Result, path: Path) -> None:
    """Render a validation into a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render(result))


def render(result: Result) -> str:
    """The page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mufin_dagster.quality", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"short": _short, "statement": _statement, "count": lambda value: f"{value:,}"}
    failing = [
        (severity, suite, ones)
        for severity in (CRITICAL, WARNING)
        for suite in result.suites
        for ones in _together(suite, severity)
    ]
    drawn = [
        {
            "dataset": portrait.dataset,
            "counts": portrait.counts,
            "charts": [
                {"title": chart.title, "note": chart.note, "series": list(chart.series), "svg": _bars(chart)}
                for chart in portrait.charts
            ],
        }
        for portrait in result.portraits
    ]
    return environment.get_template(TEMPLATE).render(
        result=result,
        failing=failing,
        portraits=drawn,
        tallies=[(suite, _tally(suite)) for suite in result.suites],
        about=ABOUT,
        headline=_headline(result),
        sentence=_sentence(result),
    )


def _together(suite: Suite, severity: Severity) -> list[list[Expectation]]:
    """What failed, one by one, but for what one and the same error kept from being judged, at the worst severity."""
    worse = {one.error for one in suite.failed(CRITICAL) if one.error}
    failed = suite.failed(severity)
    if severity == CRITICAL:
        failed = failed + [one for one in suite.failed(WARNING) if one.error in worse]
    else:
        failed = [one for one in failed if one.error not in worse]
    groups: dict[str, list[Expectation]] = {}
    for one in failed:
        groups.setdefault(one.error or one.name, []).append(one)
    return list(groups.values())


def _headline(result: Result) -> str:
    if result.verdict == "failed":
        return "Do not go on with these data"
    if result.verdict == "warnings":
        return "Usable, with something to look at"
    return "Fit for use"


def _sentence(result: Result) -> str:
    """The verdict's reason."""
    held = f"{result.passed:,} expectation{_s(result.passed)} hold{'' if result.passed != 1 else 's'}"
    faults = [fault.dataset for fault in result.faults if fault.severity == CRITICAL]
    failures = result.failures - len(faults)
    parts = []
    if faults:
        refused = len(set(faults))
        reasons = f", for {len(faults)} reasons" if len(faults) > refused else ""
        parts.append(f"{refused} catalogue{_s(refused)} could not be ingested{reasons}")
    if failures:
        parts.append(f"{failures} blocking expectation{_s(failures)} failed")
    if result.warnings:
        parts.append(f"{result.warnings} warning{_s(result.warnings)}")
    if result.passed:
        parts.append(held)
    return "; ".join(parts) + "."


def _s(number: int) -> str:
    return "" if number == 1 else "s"


def _tally(suite: Suite) -> dict[str, int]:
    return {
        "passed": sum(one.passed for one in suite.expectations),
        "warning": len(suite.failed(WARNING)),
        "critical": len(suite.failed(CRITICAL)),
    }


def _bars(chart: Any) -> Any:
    return charts.bars(chart.groups, chart.series)


def _short(value: object) -> str:
    """A cell of a table of rows."""
    text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    text = "".join(sign if sign.isprintable() else "�" for sign in text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _statement(one: Expectation) -> str:
    """The expectation as code would have it."""
    arguments = ", ".join(f"{name}={value!r}" for name, value in one.arguments.items())
    return f"{one.kind}({arguments}) on {one.table}"
