"""The rules in Dagster: specs, blocking, metadata, and a cheap import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from mufin_dagster import checks
from mufin_dagster.quality import rules
from mufin_dagster.quality.frames import Source
from mufin_dagster.quality.kept import keep
from mufin_dagster.quality.validator import validate
from mufin_model.artefacts import Workspace

from .artefacts import BAD, DATASET, RAW, set_cell


@pytest.fixture
def built() -> list[dg.AssetChecksDefinition]:
    stages: Any = [SimpleNamespace(dataset=DATASET, noun=noun) for noun in (*rules.nouns(), "released_model")]
    return checks.build(stages)


def test_a_spec_for_each_rule(built: list[dg.AssetChecksDefinition]) -> None:
    specs = {(spec.asset_key.path[1], spec.name): spec for made in built for spec in made.check_specs}
    assert set(specs) == {(rule.noun, rule.name) for rule in rules.RULES}
    for rule in rules.RULES:
        spec = specs[rule.noun, rule.name]
        assert spec.asset_key == dg.AssetKey([DATASET, rule.noun])
        assert spec.blocking == (rule.severity == "critical")
        assert spec.description == rule.description


def test_a_failed_critical_rule_stops_what_follows(
    workspace: Workspace, built: list[dg.AssetChecksDefinition], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a failed warning does not."""
    monkeypatch.setenv("MUFIN_ROOT", str(workspace.root))
    raw, after = dg.AssetKey([DATASET, RAW]), dg.AssetKey([DATASET, "after"])

    @dg.asset(key=raw)
    def first() -> None: ...

    @dg.asset(key=after, deps=[raw])
    def second() -> None: ...

    def run() -> dg.ExecuteInProcessResult:
        defs = dg.Definitions(assets=[first, second], asset_checks=built[:1])
        return defs.resolve_implicit_global_asset_job_def().execute_in_process(raise_on_error=False)

    BAD["items_with_text"][0](workspace.root)
    warned = run()
    found = {e.check_name: e for e in warned.get_asset_check_evaluations()}
    assert len(found) == len(rules.of(RAW))
    assert not found["items_with_text"].passed
    assert found["items_with_text"].severity == dg.AssetCheckSeverity.WARN
    assert found["items_with_text"].metadata["unexpected_count"].value == 14
    critical = {name for name, e in found.items() if not e.passed and e.severity == dg.AssetCheckSeverity.ERROR}
    assert critical == {"items_described"}, "the item without an image has lost its only descriptor"
    assert found["items_described"].blocking
    assert not warned.success
    assert not warned.asset_materializations_for_node(second.node_def.name)
    rows = found["items_described"].metadata["first_rows"]
    assert isinstance(rows, dg.TableMetadataValue)
    assert rows.records[0].data["id"] == "i4"
    page = found["items_described"].metadata["quality_report"]
    assert isinstance(page, dg.PathMetadataValue)
    told = Path(page.path).read_text()
    assert "1 blocking expectation failed" in told
    assert "items_with_text" in told

    set_cell("items", "images", 4, [0])(workspace.root)
    assert run().success
    assert "Usable, with something to look at" in Path(page.path).read_text()


def test_one_check_alone(
    workspace: Workspace, built: list[dg.AssetChecksDefinition], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUFIN_ROOT", str(workspace.root))
    key = dg.AssetCheckKey(dg.AssetKey([DATASET, RAW]), "schema")
    job = dg.define_asset_job("one", selection=dg.AssetSelection.checks(key))
    defs = dg.Definitions(asset_checks=built, jobs=[job])
    result = defs.resolve_job_def("one").execute_in_process()
    assert [e.check_name for e in result.get_asset_check_evaluations()] == ["schema"]


def test_the_page_gathers_what_each_step_found(workspace: Workspace) -> None:
    """A part judged anew takes the place of the same part, and nothing else is forgotten."""

    def judge(noun: str, names: set[str] | None = None) -> str:
        outcomes = validate(workspace, DATASET, noun, names)
        return keep(Source(workspace, DATASET), noun, outcomes, 1.0).read_text()

    BAD["items_with_text"][0](workspace.root)
    assert "1 blocking expectation failed" in judge(RAW)
    told = judge("anns_index")
    assert "1 blocking expectation failed" in told
    assert "anns_index" in told
    set_cell("items", "images", 4, [0])(workspace.root)
    told = judge(RAW, {"items_described"})
    assert "Usable, with something to look at" in told
    assert f"{len(rules.of(RAW)) + len(rules.of('anns_index')) - 1} expectations hold" in told


def test_import_is_light() -> None:
    """Great Expectations takes seconds to import: no code location may wait for it."""
    code = (
        "import sys, mufin_dagster.checks, mufin_dagster.quality.rules, mufin_dagster.quality.command; "
        "sys.exit(', '.join(m for m in ('great_expectations', 'torch') if m in sys.modules) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
