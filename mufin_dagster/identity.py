"""What a result should depend on, and nothing else: the catalogue, settings (the seed among them) and code.

Two runs of one identity are to leave the same figures; where they do not, chance got in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from mufin_dagster import pipeline
from mufin_dagster.pipeline import Locked, Stage
from mufin_model.artefacts import CATALOG

TAG = "mufin/identity"


def identity(stage: Stage, stages: Sequence[Stage], locked: Mapping[str, Locked]) -> str | None:
    """Of a stage's last result: a hash over it and all it is made from; None where one of them is not recorded.

    What was kept is of some earlier training, so they count by their bytes.
    """
    by_key = {one.key: one for one in stages}
    told: dict[str, object] = {}
    waiting = [stage]
    while waiting:
        one = waiting.pop()
        if one.address in told:
            continue
        if one.address not in locked:
            return None
        mine = locked[one.address]
        told[one.address] = [mine.code_version, mine.data_version if mine.kept else None]
        for key in pipeline.parents(one, stages):
            if key in by_key:
                waiting.append(by_key[key])
            else:
                told["/".join(key)] = mine.deps[f"{pipeline.DATA}{one.dataset}/{CATALOG}"]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
