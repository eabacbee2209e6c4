"""The gate's verdict as an asset check of released_model: a refused challenger is a warning that says why.

A refusal fails no run. Whoever `automation.notify` names is told of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from mufin_dagster import notify
from mufin_dagster.describe import verdict_metadata
from mufin_dagster.pipeline import Stage
from mufin_dagster.settings import Automation
from mufin_model.artefacts import NOUNS, Workspace, read_json

NOUN = NOUNS["release"]
NAME = "challenger_was_promoted"


def build(workspace: Workspace, stages: Sequence[Stage], settings: Automation) -> list[dg.AssetChecksDefinition]:
    """The check of every dataset that releases."""
    return [_check(workspace, stage.dataset, settings) for stage in stages if stage.noun == NOUN]


def _check(workspace: Workspace, dataset: str, settings: Automation) -> dg.AssetChecksDefinition:
    def check(context) -> dg.AssetCheckResult:  # type: ignore[no-untyped-def]  # Dagster takes no string annotation
        verdict = read_json(workspace.read(dataset, NOUN) / "verdict.json")
        if verdict["decision"] == "refused":
            notify.send(settings, message(dataset, verdict, context.run.run_id))
        return dg.AssetCheckResult(
            passed=verdict["decision"] != "refused",
            severity=dg.AssetCheckSeverity.WARN,
            description=sentence(verdict),
            metadata=verdict_metadata(verdict),
        )

    check.__name__ = re.sub(r"\W", "_", f"release__{dataset}__{NAME}")
    return dg.asset_check(
        asset=dg.AssetKey([dataset, NOUN]),
        name=NAME,
        description="The last challenger passed the gate; if not, why, and what is served in its place.",
    )(check)


def sentence(verdict: Mapping[str, Any]) -> str:
    """The verdict in words."""
    if verdict["decision"] != "refused":
        return f"{verdict['challenger']} {verdict['decision']}"
    reasons = "; ".join(verdict["reasons"])
    return f"{verdict['challenger']} was refused, {verdict['champion']} stays: {reasons}"


def message(dataset: str, verdict: Mapping[str, Any], run_id: str) -> notify.Message:
    """What the notifier tells of a refusal."""
    facts = {
        "run": run_id,
        "dataset": dataset,
        "challenger": str(verdict["challenger"]),
        "release": str(verdict["champion"]),
    }
    title = f"mufin: a challenger of {dataset} was refused, {verdict['champion']} stays in front"
    return notify.Message(title, "\n".join(verdict["reasons"]), facts)
