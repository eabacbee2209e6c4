"""A validation as JUnit XML, which test views of CI read: a suite an artefact, a case an expectation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from mufin_dagster.quality.result import Expectation, Fault, Result, Suite
from mufin_dagster.quality.rule import CRITICAL

NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Signs that XML 1.0 cannot hold, not even as references."""


def junit(result: Result) -> bytes:
    """The document.

    A failed warning is a failure only where the validation was strict; otherwise its case passes, and its output says
    what was found.
    """
    root = ElementTree.Element("testsuites", name="mufin validate")
    for dataset in dict.fromkeys(fault.dataset for fault in result.faults):
        _faults(root, [fault for fault in result.faults if fault.dataset == dataset], result.strict)
    for suite in result.suites:
        _suite(root, suite, result.strict)
    totals = {name: sum(int(one.get(name, "0")) for one in root) for name in ("tests", "failures", "errors")}
    for name, total in totals.items():
        root.set(name, str(total))
    root.set("time", f"{sum(suite.seconds for suite in result.suites):.2f}")
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _suite(root: ElementTree.Element, suite: Suite, strict: bool) -> None:
    failing = [one for one in suite.expectations if _fails(one, strict)]
    errors = sum(bool(one.error) for one in failing)
    element = ElementTree.SubElement(
        root,
        "testsuite",
        name=f"{suite.dataset}.{suite.artefact}",
        tests=str(len(suite.expectations)),
        failures=str(len(failing) - errors),
        errors=str(errors),
        time=f"{suite.seconds:.2f}",
        timestamp=suite.judged_at.rstrip("Z"),
    )
    for one in suite.expectations:
        case = ElementTree.SubElement(
            element, "testcase", classname=f"mufin.{suite.dataset}.{suite.artefact}", name=one.name, time="0"
        )
        if one.passed:
            continue
        if one in failing:
            kind = "error" if one.error else "failure"
            told = ElementTree.SubElement(case, kind, message=_clean(one.description), type=one.severity)
            told.text = _text(one)
        else:
            ElementTree.SubElement(case, "system-out").text = f"warning: {_clean(one.description)}\n{_text(one)}"


def _faults(root: ElementTree.Element, faults: Sequence[Fault], strict: bool) -> None:
    """The faults of one dataset; views tell cases apart by their names."""
    failing = [fault for fault in faults if fault.severity == CRITICAL or strict]
    element = ElementTree.SubElement(
        root,
        "testsuite",
        name=f"{faults[0].dataset}.ingest",
        tests=str(len(faults)),
        failures="0",
        errors=str(len(failing)),
        time="0",
    )
    for number, fault in enumerate(faults, 1):
        name = "ingest" if len(faults) == 1 else f"ingest, fault {number}"
        case = ElementTree.SubElement(element, "testcase", classname=f"mufin.{fault.dataset}", name=name, time="0")
        lines = "\n".join(line for line in (fault.where, *fault.rows, fault.mend) if line)
        if fault in failing:
            told = ElementTree.SubElement(case, "error", message=_clean(fault.what), type=fault.kind)
            told.text = _clean(lines)
        else:
            ElementTree.SubElement(case, "system-out").text = _clean(f"warning: {fault.what}\n{lines}")


def _fails(one: Expectation, strict: bool) -> bool:
    return not one.passed and (strict or one.severity == CRITICAL)


def _text(one: Expectation) -> str:
    return _clean("\n".join([one.found, *(str(row) for row in one.first)]))


def _clean(text: str) -> str:
    return NOT_XML.sub("�", text)
