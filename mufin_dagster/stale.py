"""Why stages are stale: what DVC finds changed, with code, libraries and weights by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mufin_dagster import pipeline, pointers, versioning
from mufin_dagster.pipeline import Stage
from mufin_model.fingerprint import record


def reasons(root: Path, stages: Sequence[Stage]) -> dict[str, list[str]]:
    """Address to reasons, of the stages that are not up to date.

    Args:
        root: the project.
        stages: as `pipeline.load` has just given them, which brings the fingerprints up to date.
    """
    if not stages:
        return {}
    pointers.settle(root)
    found = versioning.status(root, *(stage.address for stage in stages))
    locked = pipeline.read_lock(root, stages)
    told = {}
    for stage in stages:
        if stage.address in found:
            before = locked[stage.address].fingerprint if stage.address in locked else {}
            told[stage.address] = _named(found[stage.address], stage, before)
    return told


def _named(lines: Sequence[str], stage: Stage, before: dict[str, Any]) -> list[str]:
    """DVC's lines, the one about the fingerprint replaced by what changed in it."""
    key = re.compile(rf"deps: ({re.escape(record.FILE)}|{re.escape(stage.dataset)}\.\w+) (modified|new|deleted)")
    words = record.changes(before, stage.fingerprint) if before else ["code, libraries and weights: not recorded yet"]
    return [word for line in lines for word in (words if key.fullmatch(line) else [line])]
