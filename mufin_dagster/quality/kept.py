"""The quality report of a dataset as its asset checks leave it: what each check step found, gathered in one page.

Beside the artefacts, in `.state/quality`: a verdict on artefacts is none of them, and no version of the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from mufin_dagster import versioning
from mufin_dagster.quality import page, result, rules
from mufin_dagster.quality.portrait import portrait
from mufin_dagster.quality.result import Portrait, Result, Suite
from mufin_model.artefacts import NOUNS, Workspace, write_json

if TYPE_CHECKING:
    from mufin_dagster.quality.frames import Source
    from mufin_dagster.quality.validator import Outcome

RAW = NOUNS["ingest"]
PAGE = "report.html"
PORTRAIT = "portrait.json"


def folder(workspace: Workspace, dataset: str) -> Path:
    """Where a dataset's page and what it is made of lie."""
    return workspace.dataset(dataset) / ".state" / "quality"


def keep(source: Source, noun: str, outcomes: Sequence[Outcome], seconds: float) -> Path:
    """Note what was found of an artefact, and render the dataset's page anew.

    A part of an artefact's expectations takes the place of the same ones; the others stay as they were found last.

    Returns:
        The page.
    """
    workspace, dataset = source.workspace, source.dataset
    place = folder(workspace, dataset)
    place.mkdir(parents=True, exist_ok=True)
    # Check steps of several artefacts may end at once; each must see what the others have noted.
    with versioning.exclusive(workspace.root, f"quality.{dataset}"):
        found = result.suite(source, noun, outcomes, seconds)
        before = _suite(place / f"{noun}.json")
        judged = {one.name: one for one in (*(before.expectations if before else []), *found.expectations)}
        found.expectations = [judged[rule.name] for rule in rules.of(noun) if rule.name in judged]
        write_json(place / f"{noun}.json", found.model_dump(mode="json"))
        if noun == RAW:
            _draw(source, place / PORTRAIT)
        suites = [suite for one in rules.nouns() if (suite := _suite(place / f"{one}.json")) is not None]
        drawn = _portrait(place / PORTRAIT)
        subject = f"{dataset}, by its asset checks"
        page.write(Result.of(subject, suites, portraits=[drawn] if drawn else []), place / PAGE)
    return place / PAGE


def _draw(source: Source, path: Path) -> None:
    try:
        write_json(path, portrait(source).model_dump(mode="json"))
    except Exception:  # damage that the expectations tell of
        path.unlink(missing_ok=True)


def _suite(path: Path) -> Suite | None:
    """None where there is none, or where it is of another version of this program."""
    try:
        return Suite.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _portrait(path: Path) -> Portrait | None:
    try:
        return Portrait.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
