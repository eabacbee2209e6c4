"""The code location: assets, checks, job, schedule, sensor and executor put together.

Loaded by workspace.yaml. Imports neither torch nor Great Expectations: a step that needs them does.
"""

from __future__ import annotations

import dagster as dg

from mufin_dagster import assets, automation, checks, execution, pipeline
from mufin_model.artefacts import Workspace

workspace = Workspace.find()
stages = pipeline.load(workspace.root)
retrain = automation.retrain()
asset_checks = checks.build(stages)

defs = dg.Definitions(
    assets=assets.build(workspace, stages),
    asset_checks=asset_checks,
    jobs=[retrain],
    schedules=[automation.nightly(retrain)],
    sensors=[automation.dvc_lock_sync(workspace)],
    executor=execution.executor(with_checks=bool(asset_checks)),
)


def everything() -> dg.JobDefinition:
    """The job of all assets and checks; `mufin materialize` runs a part of it."""
    return defs.resolve_job_def(retrain.name)
