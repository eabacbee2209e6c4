"""Tags of a run: which data, code and settings it is of, so that two runs can be told apart in the run list.

    mufin/dataset   demo
    mufin/data      the catalogue's version, as `dvc add` recorded it
    mufin/code      the commit, with `+changes` where the library differs from it
    mufin/params    a hash of every setting that the dataset's stages see

A run that may be of several datasets has one tag each, as in `mufin/data.demo`.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from mufin_dagster import pipeline
from mufin_model.artefacts import Workspace
from mufin_model.config import load

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun

CODE = ("mufin_model", "mufin_dagster", "dvc.yaml")
JOB = "mufin/job"
DATASET = "mufin/dataset"
BACKFILL = "backfill"
"""The job that makes past versions again; it touches nothing of the present."""


def tags(workspace: Workspace, datasets: Iterable[str], named: bool = False) -> dict[str, str]:
    """The tags of a run of these datasets.

    Args:
        workspace: the project.
        datasets: their names.
        named: the dataset's name is in each tag, as where the run may be of others too.

    Raises:
        SettingError: params.yaml does not load.
        DatasetError: one is not registered.
    """
    names = list(datasets)
    found = {"mufin/code": code_version(workspace.root)}
    for name in names:
        suffix = f".{name}" if named or len(names) > 1 else ""
        found[f"{DATASET}{suffix}"] = name
        found[f"mufin/data{suffix}"] = (pipeline.catalog_version(workspace.root, name) or "unrecorded")[:12]
        found[f"mufin/params{suffix}"] = params_version(workspace, name)
    return found


def datasets(tags: Mapping[str, str]) -> list[str]:
    """The datasets that a run's tags name, by either form."""
    return sorted({value for tag, value in tags.items() if tag == DATASET or tag.startswith(f"{DATASET}.")})


def of_run(instance: DagsterInstance, run: DagsterRun) -> list[str]:
    """The datasets of a run's assets and checks; of a run without a selection, those of its plan."""
    keys = [*(run.asset_selection or ()), *(check.asset_key for check in run.asset_check_selection or ())]
    if not keys and run.execution_plan_snapshot_id:
        plan = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
        told = [output.properties for step in plan.steps for output in step.outputs]
        keys = [one.asset_key for one in told if one and one.asset_key]
    return sorted({key.path[0] for key in keys})


def params_version(workspace: Workspace, dataset: str) -> str:
    """Twelve digits of a hash of the settings that the dataset's stages see."""
    told = json.dumps(load(workspace.params, dataset).model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def code_version(root: Path) -> str:
    """The commit of the project's code, or the package's version where there is no git."""
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        return commit + ("+changes" if _git(root, "status", "--porcelain", "--", *CODE) else "")
    except (OSError, subprocess.CalledProcessError):
        return version("mufin")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()
