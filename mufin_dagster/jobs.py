"""The jobs: `materialize` makes what is stale, `retrain` learns anew what a refresh kept, `refresh` keeps the weights.

The mode is in the run's config, a word for each stage that learns (mufin_model/run_mode.py). It is no setting: after a
refresh DVC finds nothing changed, and a retraining finds which artefacts keep what was learnt before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from mufin_dagster import pipeline
from mufin_dagster.pipeline import Stage
from mufin_model.artefacts import NOUNS, Workspace
from mufin_model.config import KEEPS
from mufin_model.run_mode import REFRESH, RETRAIN

MATERIALIZE = "materialize"
"""The job of the command and, without a name, of the button: what is stale is made anew, with no mode."""

KEPT = tuple(NOUNS[verb] for verb in KEEPS)
"""Nouns of the stages that learn."""


def jobs(stages: Sequence[Stage]) -> dict[str, dg.UnresolvedAssetJobDefinition]:
    """The jobs, by name; each over all datasets, of which a run may take a part.

    The mode is their default config, so that a run launched in the UI is what the job's name says.
    """
    told = {
        MATERIALIZE: "What DVC finds changed is made anew, with its checks; what is up to date is passed over.",
        RETRAIN: "The same, and what a refresh kept is trained anew.",
        REFRESH: "New items and labels encoded, indexed and scored with the weights there are; no training.",
    }
    return {
        name: dg.define_asset_job(
            name,
            selection=dg.AssetSelection.all(),
            description=text,
            config=None if name == MATERIALIZE else run_config(stages, name),
        )
        for name, text in told.items()
    }


def run_config(stages: Sequence[Stage], job: str) -> dict[str, Any]:
    """The run's config: each stage that learns is told whether to keep what it learnt."""
    ops = {
        dg.AssetKey(list(stage.key)).to_python_identifier(): {"config": {"mode": job}}
        for stage in stages
        if stage.noun in KEPT
    }
    return {"ops": ops}


def mode_of(workspace: Workspace, stages: Sequence[Stage], dataset: str, job: str) -> str:
    """The job as it applies to a dataset: a refresh where nothing was trained yet is a training."""
    learning = [stage.noun for stage in stages if stage.dataset == dataset and stage.noun in KEPT]
    trained = all(workspace.path(dataset, noun).is_dir() for noun in learning)
    return job if trained else RETRAIN


def request(
    workspace: Workspace, stages: Sequence[Stage], dataset: str, job: str, run_key: str | None
) -> dg.RunRequest:
    """A run of one dataset; a refresh where nothing was trained yet is a training.

    One run a dataset, so that one's bad data stop none of the others.
    """
    from mufin_dagster.run_tags import JOB, tags

    own = [stage for stage in stages if stage.dataset == dataset]
    chosen = mode_of(workspace, stages, dataset, job)
    return dg.RunRequest(
        run_key=run_key,
        job_name=chosen,
        run_config=run_config(own, chosen),
        asset_selection=[dg.AssetKey(list(stage.key)) for stage in own],
        tags={JOB: chosen, **tags(workspace, [dataset])},
    )


def behind(workspace: Workspace, stages: Sequence[Stage]) -> dict[str, str]:
    """Datasets whose catalogue has a version that `ingest` has not taken up, and that version."""
    locked = pipeline.read_lock(workspace.root, stages)
    found = {}
    for stage in stages:
        path = f"{pipeline.DATA}{stage.dataset}/catalog"
        version = pipeline.catalog_version(workspace.root, stage.dataset) if path in stage.deps else None
        if version and (stage.address not in locked or locked[stage.address].deps.get(path) != version):
            found[stage.dataset] = version
    return found
