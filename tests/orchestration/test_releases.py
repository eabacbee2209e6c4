"""The gate's verdict in Dagster, the word of it to people, and a rollback that DVC knows of."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from mufin_dagster import describe, release_check, release_commands, versioning
from mufin_dagster.settings import Automation
from mufin_model.artefacts import Workspace, read_json, write_json
from mufin_model.errors import DatasetError
from mufin_model.release import package
from mufin_model.release.compare import Comparison
from mufin_model.release.gate import Verdict
from mufin_model.release.shelf import PROMOTED, Shelf

from .conftest import REPOSITORY

WORSE = Comparison("P@1", 0.3, 0.4, -0.13, -0.07, 0.01, 1.0, 800, True, False)
FEW = Comparison("R@10 of 1-2", 0.2, 0.2, -0.1, 0.1, 0.03, 0.3, 12, False, True)
REFUSED = Verdict("bbbb", "aaaa", [str(WORSE)], "same test set", [WORSE, FEW], {"critical": [], "warning": []})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What a webhook on this machine was sent."""
    got: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MUFIN_WEBHOOK_URL", f"http://127.0.0.1:{server.server_address[1]}/")
        yield got
        server.shutdown()


def judged(workspace: Workspace, verdict: dict[str, Any]) -> dg.AssetCheckEvaluation:
    """The check, run by Dagster on an artefact that holds this verdict."""
    folder = workspace.path("demo", release_check.NOUN)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / package.VERDICT, verdict)
    stage: Any = SimpleNamespace(dataset="demo", noun=release_check.NOUN)
    checks = release_check.build(workspace, [stage], Automation(notify=["webhook"]))
    defs = dg.Definitions(
        assets=[dg.AssetSpec(["demo", release_check.NOUN])],
        asset_checks=checks,
        jobs=[dg.define_asset_job("check", selection=dg.AssetSelection.all_asset_checks())],
    )
    done = defs.resolve_job_def("check").execute_in_process()
    assert done.success
    (evaluation,) = done.get_asset_check_evaluations()
    return evaluation


def test_a_refusal_is_a_warning_that_says_why_and_is_told(workspace: Workspace, told: list[dict[str, Any]]) -> None:
    found = judged(workspace, REFUSED.lasting())
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert "bbbb was refused, aaaa stays: P@1 30.00 % beside 40.00 %" in found.description
    table = found.metadata["comparison"].value
    assert "| P@1 | 30.00 | 40.00 | -10.00 | -13.00 to -7.00 | 1 | 100% | refused |" in table
    assert "| too few to decide |" in table
    assert found.metadata["P@1 points"].value == -10.0
    (message,) = told
    assert "demo was refused, aaaa stays" in message["title"]
    assert message["facts"]["challenger"] == "bbbb"
    assert "P@1 30.00 %" in message["text"]


def test_a_promotion_passes_and_is_not_told(workspace: Workspace, told: list[dict[str, Any]]) -> None:
    assert judged(workspace, Verdict("bbbb", "aaaa").lasting()).passed
    assert told == []


def test_the_artefact_describes_its_release_and_its_verdict(workspace: Workspace) -> None:
    folder = workspace.path("demo", release_check.NOUN)
    folder.mkdir(parents=True)
    write_json(folder / package.VERDICT, REFUSED.lasting())
    manifest = {"release": "aaaa", "files": {}, "served_metrics": {"P@1": 0.4}, "provenance": {"data": "d"}}
    write_json(folder / package.MANIFEST, manifest)
    stage: Any = SimpleNamespace(dataset="demo", noun=release_check.NOUN, cmd="mufin release")
    found = describe.describe(workspace, stage)
    assert found["release"] == "aaaa"
    assert found["served P@1"] == 0.4
    assert found["decision"] == "refused"
    assert "P@1 30.00 %" in found["why"].value


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Workspace, list[str]]:
    """A project whose stage has promoted two releases, of no matter what; both names, the last one in front."""
    workspace = Workspace(tmp_path)
    shelf = Shelf(workspace, "demo")
    (tmp_path / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    (tmp_path / "dep.txt").write_text("1")
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  released_model:\n    matrix: {dataset: [demo]}\n    cmd: 'true'\n    deps: [dep.txt]\n"
        "    outs: ['data/${item.dataset}/released_model': {persist: true}]\n"
    )
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    versioning.dvc(tmp_path, "init", "-q")
    names = []
    for content in ("one", "two"):
        folder = tmp_path / "packed"
        folder.mkdir()
        (folder / "weights").write_text(content)
        files = package.manifest(folder)
        names.append(package.name_of(files))
        write_json(folder / package.MANIFEST, {"release": names[-1], "files": files})
        verdict = Verdict(names[-1], names[-2] if len(names) > 1 else None).lasting()
        number = shelf.record({**verdict, "release": names[-1], "metrics": {}, "provenance": {}, "decision": PROMOTED})
        shelf.take(folder, names[-1])
        shelf.point(names[-1], number)
        shelf.mirror(verdict)
    versioning.dvc(tmp_path, "commit", "-f")
    monkeypatch.setenv("MUFIN_ROOT", str(tmp_path))
    return workspace, names


def test_a_rollback_is_known_to_dvc(project: tuple[Workspace, list[str]]) -> None:
    workspace, (first, second) = project
    before = (workspace.root / "dvc.lock").read_bytes()
    assert release_commands.rollback(workspace, release_commands.only(workspace), None) == first
    assert read_json(workspace.read("demo", "released_model") / package.MANIFEST)["release"] == first
    assert versioning.status(workspace.root) == {}
    assert (workspace.root / "dvc.lock").read_bytes() != before
    release_commands.rollback(workspace, "demo", second)
    assert versioning.status(workspace.root) == {}


def test_a_rollback_does_not_make_a_stage_look_as_if_it_had_run(project: tuple[Workspace, list[str]]) -> None:
    workspace, (first, _) = project
    (workspace.root / "dep.txt").write_text("2")
    before = (workspace.root / "dvc.lock").read_bytes()
    assert release_commands.rollback(workspace, "demo", first) == first
    assert (workspace.root / "dvc.lock").read_bytes() == before
    assert "deps: dep.txt modified" in versioning.status(workspace.root)["released_model@demo"]


def test_the_rules_are_asked_of_the_artefacts_that_are_there(workspace: Workspace) -> None:
    assert release_commands.failed_rules(workspace, "demo") == {"critical": [], "warning": []}
    (workspace.path("demo", "predictions")).mkdir(parents=True)
    found = release_commands.failed_rules(workspace, "demo")
    assert found["critical"]
    assert all(line.startswith("predictions ") for line in found["critical"] + found["warning"])


def test_which_dataset_is_asked_where_there_are_several(workspace: Workspace) -> None:
    workspace.params.write_text("datasets: [a, b]\n")
    with pytest.raises(DatasetError, match="which dataset"):
        release_commands.only(workspace)
