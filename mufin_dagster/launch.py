"""One run in a process of its own, so that what it prints goes to a file and not through the progress view.

python -m mufin_dagster.launch '{"launch": "...", "assets": ["demo/raw_descriptors"], "force": false}'
"""

from __future__ import annotations

import json
import sys
from typing import Any

import dagster as dg

from mufin_dagster import definitions, home, jobs


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
    with dg.DagsterInstance.get() as instance:
        done = dg.execute_job(
            dg.reconstructable(job),
            instance=instance,
            asset_selection=keys,
            run_config={"ops": ops, "loggers": {"console": {"config": {"log_level": "ERROR"}}}},
            tags={home.LAUNCH: wanted["launch"]},
        )
        return 0 if done.success else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
