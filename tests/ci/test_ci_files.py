"""The files of ci/ at work: their shell steps, as they stand, on a project with one good and one bad version.

Read from the YAML and run by the shell that the service runs them with. Steps that install (`pip install`) are passed
over, as this installation takes their place; steps that are not shell (`uses:`) cannot run here.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pytest
import yaml

from mufin_dagster.quality.result import Result
from mufin_dagster.versioning import environment
from tests.versions.conftest import REPOSITORY, Shop, project

INSTALLS = "pip install"


@dataclass(frozen=True)
class Step:
    """One run of a shell: its text, its arguments, and whether it runs after a failure too."""

    text: str
    shell: Sequence[str]
    always: bool = False


@dataclass(frozen=True)
class Versions:
    """A project and two commits of it."""

    shop: Shop
    good: str
    bad: str


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """A good version, and one whose test split leads nowhere; nothing but git and DVC's remote holds them."""
    folder = tmp_path_factory.mktemp("ci")
    shop = project(folder / "project")
    shop.dvc("remote", "modify", "folder", "url", str(folder / "remote"))  # clones lie elsewhere
    shop.workspace.params.write_text(shop.workspace.params.read_text().replace("other", "shop"))
    catalog = shop.workspace.catalog("shop")
    catalog.parent.mkdir(parents=True)
    shop.draw().rename(catalog)
    labels = pl.read_parquet(catalog / "labels.parquet")  # one of them says nothing: a warning
    (catalog / "labels.parquet").unlink()
    blank = pl.when(pl.col("id") == "a").then(pl.lit("A")).otherwise(pl.lit(""))
    labels.with_columns(text=blank).write_parquet(catalog / "labels.parquet")
    (shop.root / "dvc.yaml").unlink()
    shop.dvc("add", "data/shop/catalog")
    good = _commit(shop, "Good")
    links = pl.read_parquet(catalog / "test.parquet")
    (catalog / "test.parquet").unlink()
    links.with_columns(label_id=pl.lit("nowhere")).write_parquet(catalog / "test.parquet")
    shop.dvc("commit", "-f", "data/shop/catalog.dvc")
    bad = _commit(shop, "Bad")
    return Versions(shop, good, bad)


def _commit(shop: Shop, message: str) -> str:
    shop.git("add", ".")
    shop.git("commit", "-qm", message)
    shop.dvc("push")
    return shop.git("rev-parse", "HEAD").strip()


@pytest.fixture
def clone(versions: Versions, tmp_path: Path) -> Path:
    """As a service checks the project out: without DVC's cache."""
    subprocess.run(["git", "clone", "-q", str(versions.shop.root), str(tmp_path / "clone")], check=True)
    return tmp_path / "clone"


def github() -> tuple[list[Step], dict[str, str]]:
    """Steps and environment of the workflow; GitHub's own expressions are left out."""
    (job,) = yaml.safe_load((REPOSITORY / "ci" / "github-actions.yml").read_text())["jobs"].values()
    shells = {"bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"], None: ["bash", "-e"]}
    steps = [
        Step(step["run"], shells[step.get("shell")], step.get("if") == "always()")
        for step in job["steps"]
        if "run" in step
    ]
    return steps, {name: value for name, value in job["env"].items() if "${{" not in value}


def gitlab() -> tuple[list[Step], dict[str, str]]:
    """The job's two scripts; GitLab runs them in one shell that stops at the first line that fails."""
    job = yaml.safe_load((REPOSITORY / "ci" / "gitlab-ci.yml").read_text())["validate-data"]
    lines = [line for line in (*job["before_script"], *job["script"]) if INSTALLS not in line]
    return [Step("\n".join(lines), ["bash", "-eo", "pipefail"])], {"STRICT": job["variables"]["STRICT"]}


def run(steps: Sequence[Step], root: Path, env: Mapping[str, str]) -> int:
    """Run the steps as a service does: after a failure only those that always run."""
    code = 0
    base = environment(root) | {"COLUMNS": "120", "OMP_NUM_THREADS": "1"}
    for step in steps:
        if INSTALLS in step.text or (code and not step.always):
            continue
        done = subprocess.run([*step.shell, "-c", step.text], cwd=root, env=base | env, capture_output=True, text=True)
        print(done.stdout, done.stderr, sep="\n")
        code = code or done.returncode
    return code


def _told(root: Path) -> tuple[Result, Any]:
    folder = root / "quality"
    page = (folder / "report.html").read_text()
    assert "http" not in page
    return Result.model_validate(json.loads((folder / "result.json").read_text())), ElementTree.parse(
        folder / "junit.xml"
    ).getroot()


def test_github_passes_a_good_version(versions: Versions, clone: Path) -> None:
    steps, env = github()
    summary = clone / "summary.md"
    assert run(steps, clone, env | {"REV": versions.good, "GITHUB_STEP_SUMMARY": str(summary)}) == 0
    result, junit = _told(clone)
    assert (result.verdict != "failed", result.exit_code, result.subject) == (True, 0, f"revision {versions.good}")
    assert (junit.get("failures"), junit.get("errors")) == ("0", "0")
    assert "0 failed" in summary.read_text()
    assert not (clone / "data" / "shop" / "catalog").exists(), "a version is judged aside"


def test_github_stops_a_bad_version(versions: Versions, clone: Path) -> None:
    """And shows why all the same."""
    steps, env = github()
    summary = clone / "summary.md"
    assert run(steps, clone, env | {"REV": versions.bad, "GITHUB_STEP_SUMMARY": str(summary)}) == 2
    result, junit = _told(clone)
    assert [fault.kind for fault in result.faults] == ["CatalogError"]
    assert junit.get("errors") == "1"
    assert "nowhere" in summary.read_text()


def test_gitlab_strict(versions: Versions, clone: Path) -> None:
    """With STRICT set, as in the project's variables: one of the two labels shows nothing, a warning."""
    steps, env = gitlab()
    assert run(steps, clone, env | {"CI_COMMIT_SHA": versions.good, "STRICT": "--strict"}) == 1
    result, junit = _told(clone)
    assert [one.name for suite in result.suites for one in suite.failed("warning")] == ["labels_described"]
    assert (junit.get("failures"), junit.get("errors")) == ("1", "0")
