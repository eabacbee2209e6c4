"""What exists is not made again: an artefact that is missing here but in DVC's cache or remote is brought back.

As in a fresh clone, or after somebody removed a folder. Only where nothing but its absence makes the stage stale.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mufin_dagster import stale, versioning
from mufin_dagster.pipeline import Stage
from mufin_dagster.versioning import VersioningError

ABSENT = re.compile(r"deps: \S.* deleted|outs: \S.* (deleted|not in cache)")
"""DVC's line of a file or folder that is recorded and not there."""
UNCACHED = re.compile(r"outs: \S.* not in cache")
"""Its line where the files are as recorded and the cache has no copy."""

CACHE, REMOTE, KEPT = "restored from the cache", "pulled from the remote", "kept, and put into the cache again"


def restore(root: Path, stage: Stage, why: Sequence[str]) -> str | None:
    """Bring a stage's outputs back as dvc.lock records them.

    Args:
        root: the project.
        stage: which is stale.
        why: the reasons, as `stale.reasons` gives them.

    Returns:
        CACHE, REMOTE or KEPT; None where it is stale for another reason, or neither has what was recorded.

    Raises:
        DiskError: there is no room.
    """
    if not why or not all(ABSENT.fullmatch(line) for line in why):
        return None
    if all((root / out).exists() for out in stage.outs):
        if not all(UNCACHED.fullmatch(line) for line in why):
            return None
        versioning.commit(root, stage.address, root / "dvc.lock")
        return KEPT
    for found, *command in ((CACHE, "checkout", "--force"), (REMOTE, "pull", "--force")):
        try:
            versioning.dvc(root, *command, *_absent_deps(root, stage), stage.address)
        except VersioningError:
            continue
        if not stale.reasons(root, [stage]).get(stage.address):
            return found
    return None


def _absent_deps(root: Path, stage: Stage) -> list[str]:
    return [path for path in stage.deps if not (root / path).exists()]
