"""`mufin release` with the quality rules asked first, and `mufin rollback` with what it did told to DVC."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from typing import Any

from mufin_dagster import versioning
from mufin_model.artefacts import NOUNS, Workspace
from mufin_model.cli import guarded
from mufin_model.errors import DatasetError
from mufin_model.progress import main_rank, say

VERB = "release"


def judged(command: Callable[..., Any]) -> Callable[..., Any]:
    """The verb, told which quality rules fail on the artefacts as they lie there.

    Asked here and not of Dagster's event log: so `dvc repro`, a shell and Dagster decide alike, and no check of an
    earlier artefact counts for a later one.
    """

    @functools.wraps(command)
    @guarded
    def run(*args: Any, **kwargs: Any) -> Any:
        if main_rank():
            from mufin_model import config
            from mufin_model.release.gate import CHECKS

            dataset = kwargs["dataset"]
            workspace = Workspace.find()
            config.load(workspace.params, dataset, kwargs.get("overrides") or [])
            os.environ[CHECKS] = json.dumps(failed_rules(workspace, dataset))
        return command(*args, **kwargs)

    return run


def failed_rules(workspace: Workspace, dataset: str) -> dict[str, list[str]]:
    """The quality rules that do not hold, by severity, a line each."""
    from mufin_dagster.quality import rules
    from mufin_dagster.quality.validator import validate

    failed: dict[str, list[str]] = {"critical": [], "warning": []}
    for noun in rules.nouns():
        if workspace.path(dataset, noun).is_dir():
            for outcome in validate(workspace, dataset, noun):
                if not outcome.passed:
                    severity = "critical" if outcome.severity == rules.CRITICAL else "warning"
                    failed[severity].append(f"{noun} {outcome.rule.name}: {outcome.summary}")
    return failed


def rollback(workspace: Workspace, dataset: str, name: str | None) -> str:
    """Serve an earlier release again.

    DVC is told of the artefact only where nothing else of its stage has changed: a stage that is yet to run must not
    look as if it had.

    Returns:
        The release that is served now.

    Raises:
        ArtefactError: there is no such release.
        DatasetError: the dataset is not registered.
    """
    from mufin_dagster import pipeline, stale
    from mufin_model import config
    from mufin_model.release.release import rollback as switch

    keep = config.load(workspace.params, dataset).release.keep
    address = f"{NOUNS[VERB]}@{dataset}"
    versioned = (workspace.root / ".dvc").is_dir()
    stages = [one for one in pipeline.load(workspace.root) if one.address == address] if versioned else []
    behind = stale.reasons(workspace.root, stages).get(address, [])
    chosen = switch(workspace, dataset, name, keep)
    if versioned and not behind:
        versioning.commit(workspace.root, address, workspace.root / "dvc.lock")
    elif behind:
        say(f"not recorded by DVC: {address} is yet to run ({'; '.join(behind)})")
    return chosen


def only(workspace: Workspace) -> str:
    """The project's dataset, where it has one.

    Raises:
        DatasetError: there are several, or none.
    """
    from mufin_model import config

    names = [str(name) for name in config.read(workspace.params).get("datasets") or []]
    if len(names) != 1:
        raise DatasetError("which dataset?", where="params.yaml", rows=names, mend="mufin rollback --dataset NAME")
    return names[0]
