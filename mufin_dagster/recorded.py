"""`mufin ingest` as the console script has it: what it leaves is told to DVC, so that a version is one commit away."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from mufin_dagster import versioning
from mufin_model.artefacts import NOUNS, Workspace
from mufin_model.cli import guarded
from mufin_model.progress import main_rank, say

VERB = "ingest"


def recorded(command: Callable[..., Any]) -> Callable[..., Any]:
    """The verb, one process at a time for a dataset, and its result recorded.

    Not recorded: under `dvc repro` and Dagster, which do it themselves; with -S, as DVC reads settings from
    params.yaml and these are not kept there; with --check, which leaves nothing; in a folder without DVC.
    """

    @functools.wraps(command)
    @guarded
    def run(*args: Any, **kwargs: Any) -> Any:
        workspace = Workspace.find()
        versioned = (workspace.root / ".dvc").is_dir() and main_rank()
        if not versioned or versioning.IN_STAGE in os.environ or kwargs.get("check"):
            return command(*args, **kwargs)
        dataset = kwargs["dataset"]
        with versioning.exclusive(workspace.root, f"{VERB}.{dataset}"):
            result = command(*args, **kwargs)
            if kwargs.get("overrides"):
                say("not recorded by DVC: settings given by -S are not kept in params.yaml")
            else:
                versioning.record(workspace, dataset, NOUNS[VERB])
                say(f'recorded: mufin data commit -m "..." makes a version of {dataset}')
        return result

    return run
