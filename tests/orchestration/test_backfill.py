"""A past version made again is the past version."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from mufin_dagster import backfill, versioning
from mufin_dagster.backfill import rebuild
from mufin_dagster.data_versions import commit
from mufin_dagster.versioning import VersioningError

from .conftest import STEPS, Project

REPORT = "report/report.html"
METRICS = "report/metrics.json"


def git(project: Project, *arguments: str) -> str:
    told = subprocess.run(["git", *arguments], cwd=project.root, check=True, capture_output=True, text=True)
    return told.stdout.strip()


@pytest.fixture(scope="module")
def project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Tagged `yesterday`; since then text, settings and code have changed. No test here changes it."""
    root = tmp_path_factory.mktemp("backfill") / "project"
    shutil.copytree(template, root, symlinks=True)
    made = Project(root)
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("MUFIN_ROOT", str(root))
        patch.chdir(root)
        patch.setattr(backfill, "REPORT", "report")
        git(made, "config", "user.name", "x")
        git(made, "config", "user.email", "x@x")
        git(made, "add", "-A")
        git(made, "commit", "-q", "-m", "yesterday")
        git(made, "tag", "yesterday")
        (root / "data" / "one" / "catalog" / "text.txt").write_text("another and longer text")
        made.setting("evaluate: {}\n    release: {}\n  two", "evaluate: {gallery: 7}\n    release: {}\n  two")
        report = root / "steps" / "report.py"
        report.write_text(report.read_text().replace("<h1>", "<h2>"))
        assert made.materialize(instance, *(f"one/{noun}" for noun in STEPS)).success
        assert commit(made.workspace, "today", ["one"])
        git(made, "commit", "-q", "-m", "code", "--", "steps")
        yield made


@pytest.fixture
def past(project: Project, template: Path) -> dict[str, bytes]:
    """The report as it was yesterday, other than today's."""
    kept = {name: (template / "data" / "one" / name).read_bytes() for name in (REPORT, METRICS)}
    assert all((project.root / "data" / "one" / name).read_bytes() != kept[name] for name in kept)
    return kept


def snapshot(project: Project) -> dict[str, bytes]:
    """All that the project is: pointers and files, without tools' own folders and what a rebuild adds."""
    files = (path.relative_to(project.root) for path in project.root.rglob("*") if path.is_file())
    own = (".git", ".dvc", ".dagster_home")
    return {str(path): (project.root / path).read_bytes() for path in files if not {*path.parts} & {*own, ".state"}}


def test_yesterdays_report_comes_out_byte_for_byte(project: Project, past: dict[str, bytes]):
    before = snapshot(project)
    done = rebuild(project.workspace, "yesterday", "one", print)
    assert done.exact
    assert set(done.same) == set(STEPS)
    assert (done.report / "metrics.json").read_bytes() == past[METRICS]
    assert (done.report / "report.html").read_bytes() == past[REPORT]
    # today's stays, and nothing is left of the clone
    assert snapshot(project) == before
    assert not list((project.root / ".dvc" / "tmp").glob("backfill.*"))
    assert not [address for address in versioning.status(project.root) if address.endswith("@one")]


def test_a_rebuild_that_differs_is_told(project: Project, tmp_path: Path):
    """What yesterday recorded is not what its data give: someone wrote into the lock."""
    subprocess.run(["git", "clone", "-q", str(project.root), str(tmp_path / "clone")], check=True)
    clone = Project(tmp_path / "clone")
    git(clone, "checkout", "-q", "yesterday")
    entries = yaml.safe_load((clone.root / "dvc.lock").read_text())
    outs = {name: entries["stages"][f"{name}@one"]["outs"][0] for name in ("letters", "words")}
    outs["letters"]["md5"] = outs["words"]["md5"]
    (clone.root / "dvc.lock").write_text(yaml.safe_dump(entries))
    git(clone, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-q", "-m", "forged", "--", "dvc.lock")
    git(project, "fetch", "-q", str(clone.root), "HEAD:forged")
    done = rebuild(project.workspace, "forged", "one", print)
    assert not done.exact
    assert done.other == ["letters"]
    assert "other than recorded: letters" in str(done)


def test_the_job_takes_a_version_as_its_partition(project: Project, past: dict[str, bytes], tmp_path: Path):
    job = backfill.job(project.workspace)
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        keys = job.partitions_def.get_partition_keys()
        yesterday = f"one {git(project, 'rev-parse', 'yesterday')[:12]}"
        assert yesterday in keys
        done = job.execute_in_process(partition_key=yesterday, instance=instance)
        assert done.success
        assert instance.get_run_by_id(done.run_id).tags["mufin/dataset.one"] == "one"
    kept = project.workspace.dataset("one") / backfill.KEPT / yesterday.split()[1]
    assert (kept / "metrics.json").read_bytes() == past[METRICS]


def test_a_version_that_holds_no_result_is_refused(project: Project):
    with pytest.raises(VersioningError, match="recorded no stage of two"):
        rebuild(project.workspace, "yesterday", "two", print)
    with pytest.raises(VersioningError, match="no commit, branch or tag is called"):
        rebuild(project.workspace, "tomorrow", "one", print)
