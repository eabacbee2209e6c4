"""One run in a process of its own, so that what it prints goes to a file and not through the progress view.

python -m mufin_dagster.launch '{"launch": "...", "assets": ["demo/raw_descriptors"], "force": false}'
"""

from __future__ import annotations

import json
import sys
from typing import Any

import dagster as dg
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import RemoteRepositoryOrigin
from dagster._core.workspace.load import location_origins_from_yaml_paths

from mufin_dagster import definitions, home, jobs, run_tags
from mufin_model.artefacts import Workspace


def main(told: str) -> int:
    """Run the assets and their checks on the instance of DAGSTER_HOME."""
    wanted = json.loads(told)
    keys = [dg.AssetKey.from_user_string(name) for name in wanted["assets"]]
    mode, force = wanted.get("mode", ""), wanted["force"]
    of_mode: dict[str, Any] = {}
    for dataset in dict.fromkeys(key.path[0] for key in keys) if mode else ():
        own = [stage for stage in definitions.stages if stage.dataset == dataset]
        chosen = jobs.mode_of(definitions.workspace, own, dataset, mode)
        of_mode |= jobs.run_config(own, chosen)["ops"]
    ops = {name: of_mode.get(name, {"config": {}}) for name in (key.to_python_identifier() for key in keys)}
    ops = {name: {"config": {**told["config"], **({"force": True} if force else {})}} for name, told in ops.items()}
    job = {"": definitions.everything, jobs.RETRAIN: definitions.retrain, jobs.REFRESH: definitions.refresh}[mode]
    job_def, reconstructable = job(), dg.reconstructable(job)
    datasets = list(dict.fromkeys(key.path[0] for key in keys))
    with dg.DagsterInstance.get() as instance:
        run = instance.create_run_for_job(
            job_def=job_def,
            run_config={"ops": ops, "loggers": {"console": {"config": {"log_level": "ERROR"}}}},
            tags={home.LAUNCH: wanted["launch"], **run_tags.tags(definitions.workspace, datasets)},
            asset_selection=set(keys),
            remote_job_origin=origin(definitions.workspace).get_job_origin(job_def.name),
            job_code_origin=reconstructable.get_python_origin(),
        )
        done = execute_run(reconstructable, run, instance)
        return 0 if done.success else 1


def origin(workspace: Workspace) -> RemoteRepositoryOrigin:
    """The code location as workspace.yaml names it: Dagster's pages list the runs that have it."""
    location = location_origins_from_yaml_paths([str(workspace.root / "workspace.yaml")])[0]
    return RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
