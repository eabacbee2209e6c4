"""The method's ways to fail, seen on artefacts made up for it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import dagster as dg
import pytest

from mufin_dagster import pipeline, signatures
from mufin_dagster.identity import TAG
from mufin_dagster.settings import Automation
from mufin_model.artefacts import Workspace

from .conftest import REPOSITORY

NAMES = {"tail_labels_are_served", "runs_agree", "inference_is_fast"}


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    """A hundred test items predicted in twenty seconds; the tail found half as often as the head."""
    made = Workspace(tmp_path)
    for noun, file, told in (
        ("raw_descriptors", "summary.json", {"items_by_split": {"train": 900, "test": 100}}),
        (
            "eval_report",
            "metrics.json",
            {"buckets": {"mufin": {">50": {"recall_10": 0.8}, "1-2": {"recall_10": 0.4}, "3-50": {"recall_10": 0.6}}}},
        ),
    ):
        made.path("demo", noun).mkdir(parents=True)
        (made.path("demo", noun) / file).write_text(json.dumps(told))
    made.took("demo", "predictions", 20.0)
    return made


def judge(
    workspace: Workspace,
    instance: dg.DagsterInstance,
    settings: Automation,
    metrics: Mapping[str, float],
    identity: str = "same",
) -> dict[str, dg.AssetCheckEvaluation]:
    """Run all checks after a report with these metrics."""

    @dg.asset(key=["demo", "eval_report"])
    def report() -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata={**metrics, "seconds": 1.0, "ran": True}, tags={TAG: identity})

    @dg.asset(key=["demo", "predictions"])
    def predictions() -> None: ...

    stages = [stage for stage in pipeline.load(REPOSITORY) if stage.dataset == "demo"]
    checks = signatures.build(workspace, stages, settings)
    done = dg.materialize([report, predictions, *checks], instance=instance)
    return {found.check_name: found for found in done.get_asset_check_evaluations()}


def test_thresholds_pass_and_warn(workspace: Workspace, instance: dg.DagsterInstance):
    found = judge(workspace, instance, Automation(weak_tail=0.5, slow_inference=200), {"P@1": 0.4})
    assert set(found) == NAMES
    assert all(one.passed for one in found.values())
    assert found["tail_labels_are_served"].metadata["tail_share"].value == 0.5
    assert found["inference_is_fast"].metadata["milliseconds"].value == 200.0
    found = judge(workspace, instance, Automation(weak_tail=0.51, slow_inference=199), {"P@1": 0.4})
    assert {name for name, one in found.items() if not one.passed} == {"tail_labels_are_served", "inference_is_fast"}
    assert {one.severity for one in found.values()} == {dg.AssetCheckSeverity.WARN}
    assert not any(one.blocking for one in found.values())
    assert found["tail_labels_are_served"].description.startswith("labels of 1-2 training items are found 50%")


def test_runs_of_one_identity_must_agree(workspace: Workspace, instance: dg.DagsterInstance):
    settings = Automation(disagreement=0.01)
    assert judge(workspace, instance, settings, {"P@1": 0.40})["runs_agree"].passed
    assert judge(workspace, instance, settings, {"P@1": 0.30}, "other-data")["runs_agree"].passed
    near = judge(workspace, instance, settings, {"P@1": 0.405})["runs_agree"]
    assert near.passed
    assert near.metadata["runs"].value == 1
    apart = judge(workspace, instance, settings, {"P@1": 0.42})["runs_agree"]
    assert not apart.passed
    assert apart.metadata["largest_difference"].value == pytest.approx(0.02)


def test_identity_is_of_data_settings_and_code_alone(project):
    from mufin_dagster.identity import identity

    stages = project.stages
    locked = pipeline.read_lock(project.root, stages)
    report = project.stage("report@one")
    before = identity(report, stages, locked)
    assert before
    assert identity(project.stage("report@two"), stages, locked) is None
    # other bytes of a result, as chance would leave them: the same identity
    words = locked["words@one"]
    other = dict(locked) | {"words@one": pipeline.Locked(**{**vars(words), "data_version": "0"})}
    assert identity(report, stages, other) == before
    kept = dict(locked) | {"words@one": pipeline.Locked(**{**vars(words), "data_version": "0", "kept": True})}
    assert identity(report, stages, kept) != before
    letters = locked["letters@one"]
    changed = {"data/one/catalog": "1"}
    newer = dict(locked) | {"letters@one": pipeline.Locked(**{**vars(letters), "deps": changed})}
    assert identity(report, stages, newer) != before
