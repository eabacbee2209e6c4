"""`mufin validate`: every expectation that applies, as a table, a page, and what continuous integration reads."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mufin_model.artefacts import Workspace, disk
from mufin_model.errors import MufinError, SettingError

if TYPE_CHECKING:
    from mufin_dagster.quality.result import Result, Suite

REPORT = "data/.quality/report.html"
"""Where the page goes unless told otherwise, in the project; git and DVC pass over it."""

LOG = 160
"""Columns of the table where there is no terminal."""

MARKS = {"ok": "[green]ok[/green]", "warning": "[yellow]warning[/yellow]", "critical": "[red]FAILED[/red]"}


@dataclass(frozen=True)
class Wanted:
    """What is judged, and what is written.

    Attributes:
        datasets: of the project, or of the version; all where empty. Of a catalogue: whose next version it is.
        catalog: judge this folder.
        rev: judge the catalogues of this version.
        strict: a warning fails too.
        overrides: of the settings by which a catalogue is ingested.
        encode: run the backbones over what is ingested, and judge the vectors too.
        junit: JUnit XML; None: not written. So too `json` and `data_docs`.
        json: the result.
        report: the page; None: at REPORT.
        data_docs: folder of Great Expectations' own pages.
    """

    datasets: Sequence[str] = ()
    catalog: Path | None = None
    rev: str | None = None
    strict: bool = False
    overrides: Sequence[str] = ()
    encode: bool = False
    junit: Path | None = None
    json: Path | None = None
    report: Path | None = None
    data_docs: Path | None = None


def validate_command(wanted: Wanted) -> int:
    """Judge, print a table, write the files asked for.

    Returns:
        0: nothing to complain of, or warnings alone; 1: warnings, if strict; 2: a critical expectation failed, a
        catalogue could not be ingested, or there is nothing that could be judged.
    """
    # SIGTERM unwinds like Ctrl-C, so that temporary folders go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        workspace = Workspace.find()
        result = _judge(workspace, wanted)
        report = wanted.report or workspace.root / REPORT
        _write(result, wanted, report)
    except MufinError as error:
        print(error, file=sys.stderr, flush=True)
        return 2
    _show(result, report)
    return result.exit_code


def _judge(workspace: Workspace, wanted: Wanted) -> Result:
    from mufin_dagster.quality import subjects
    from mufin_dagster.quality.data_docs import DataDocs
    from mufin_dagster.quality.result import Result

    if wanted.catalog is not None and wanted.rev is not None:
        raise SettingError("--catalog and --rev exclude each other", mend="give one of them")
    if wanted.catalog is not None and len(wanted.datasets) > 1:
        raise SettingError("a catalogue is one dataset's", where="--dataset", mend="give it once, or not at all")
    docs = DataDocs(wanted.data_docs) if wanted.data_docs else None
    how = subjects.How(wanted.overrides, wanted.encode, docs.keep if docs else None)
    if wanted.catalog is not None:
        subject = f"catalogue {wanted.catalog}"
        dataset = next(iter(wanted.datasets), None)
        judged = subjects.folder(workspace, wanted.catalog, dataset, how)
    elif wanted.rev is not None:
        subject = f"revision {wanted.rev}"
        judged = subjects.revision(workspace, wanted.rev, wanted.datasets, how)
    else:
        subject = "the project's datasets"
        judged = subjects.project(workspace, wanted.datasets, how)
    if docs:
        docs.close()
    return Result.of(subject, judged.suites, judged.faults, judged.portraits, wanted.strict)


def _write(result: Result, wanted: Wanted, report: Path) -> None:
    """Raises: DiskError: there is no room; SettingError: a path cannot be written."""
    from mufin_dagster.quality import page
    from mufin_dagster.quality.junit import junit

    try:
        with disk(report):
            page.write(result, report)
            if wanted.json:
                wanted.json.parent.mkdir(parents=True, exist_ok=True)
                wanted.json.write_text(result.model_dump_json(indent=2) + "\n")
            if wanted.junit:
                wanted.junit.parent.mkdir(parents=True, exist_ok=True)
                wanted.junit.write_bytes(junit(result))
    except OSError as error:
        raise SettingError(
            f"cannot write it: {error.strerror}", where=str(error.filename), mend="give a path that can be written"
        ) from error


def _show(result: Result, report: Path) -> None:
    """The table: what holds in one line a suite, what does not one by one."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("dataset", "artefact", "expectation", ""):
        table.add_column(heading, no_wrap=True)
    table.add_column("what was found", overflow="fold")
    for fault in result.faults:
        lines = [fault.what, fault.where, *fault.rows, fault.mend and f"to mend it: {fault.mend}"]
        table.add_row(fault.dataset, "", "ingest", MARKS[fault.severity], escape(_plain(lines)))
    for suite in result.suites:
        table.add_row(suite.dataset, suite.artefact, f"{_held(suite)} of {len(suite.expectations)}", MARKS["ok"], "")
        for one in (one for one in suite.expectations if not one.passed):
            lines = [one.description, one.found, *map(_row, one.first)]
            table.add_row("", "", one.name, MARKS[one.severity], escape(_plain(lines)))
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = LOG  # a log of continuous integration has no width of its own
    console.print(table)
    console.print(
        f"\n{result.passed} ok, {result.warnings} warnings, {result.failures} failed; the report: {report}",
        soft_wrap=True,
        highlight=False,
    )


def _row(row: Mapping[str, object]) -> str:
    return "  " + ", ".join(f"{name}: {value}" for name, value in row.items())


def _held(suite: Suite) -> int:
    return sum(one.passed for one in suite.expectations)


def _plain(lines: Sequence[str]) -> str:
    """Lines that cannot steer the terminal."""
    text = "\n".join(line for line in lines if line)
    return "".join(sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in text)
