"""The two jobs: `retrain` trains anew, `refresh` keeps the weights and gives what is new its vectors and predictions.

They differ in four settings alone, written to params.yaml as any override is: what DVC records of a result is then
true, and a retraining after a refresh finds its stages changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from mufin_dagster import pipeline
from mufin_dagster.pipeline import Stage
from mufin_model.artefacts import Workspace

KEPT = {
    "raw_descriptors": "ingest.keep_split",
    "encoder_embeddings": "encode.keep_weights",
    "pretrained_model": "pretrain.keep_weights",
    "finetuned_classifiers": "finetune.keep_weights",
}
"""Noun to the setting that keeps what was learnt."""

RETRAIN, REFRESH = "retrain", "refresh"


def jobs(stages: Sequence[Stage]) -> dict[str, dg.UnresolvedAssetJobDefinition]:
    """Both jobs, by name; each over all datasets, of which a run may take a part.

    Their settings are the default config, so that a run launched in the UI is what the job's name says.
    """
    told = {
        RETRAIN: "Train every dataset anew, with its checks; what DVC finds up to date is passed over.",
        REFRESH: "New items and labels encoded, indexed and scored with the weights there are; no training.",
    }
    return {
        name: dg.define_asset_job(
            name, selection=dg.AssetSelection.all(), description=text, config=run_config(stages, name)
        )
        for name, text in told.items()
    }


def overrides(job: str) -> list[str]:
    """The settings that make a run this job."""
    return [f"{setting}={str(job == REFRESH).lower()}" for setting in KEPT.values()]


def run_config(stages: Sequence[Stage], job: str) -> dict[str, Any]:
    """The run's config: each stage that learns is told whether to keep what it learnt."""
    told = dict(zip(KEPT, overrides(job), strict=True))
    ops = {
        dg.AssetKey(list(stage.key)).to_python_identifier(): {"config": {"settings": [told[stage.noun]]}}
        for stage in stages
        if stage.noun in KEPT
    }
    return {"ops": ops}


def trained(workspace: Workspace, dataset: str) -> bool:
    """Whether there are weights to keep."""
    return all(workspace.path(dataset, noun).is_dir() for noun in KEPT)


def request(
    workspace: Workspace, stages: Sequence[Stage], dataset: str, job: str, run_key: str | None
) -> dg.RunRequest:
    """A run of one dataset; a refresh where nothing was trained yet is a training.

    One run a dataset, so that one's bad data stop none of the others.
    """
    from mufin_dagster.run_tags import JOB, tags

    own = [stage for stage in stages if stage.dataset == dataset]
    chosen = job if trained(workspace, dataset) or not any(s.noun in KEPT for s in own) else RETRAIN
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
