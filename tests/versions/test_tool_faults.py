"""What git and DVC refuse, each cause with its own hint and none of their words."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mufin_dagster import tool_faults
from mufin_dagster.data_versions import git, resolve
from mufin_dagster.versioning import VersioningError


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose git knows no user and no settings."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def repository(folder: Path) -> None:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / "a").write_text("a")
    subprocess.run(["git", "-C", str(folder), "add", "a"], check=True)


def commit(folder: Path) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", "-C", str(folder), *who, "commit", "-q", "-m", "one"], check=True)
    subprocess.run(["git", "-C", str(folder), *who, "commit", "-q", "--allow-empty", "-m", "two"], check=True)


def refused(root: Path, *arguments: str) -> VersioningError:
    with pytest.raises(VersioningError) as caught:
        git(root, *arguments)
    return caught.value


def test_no_identity(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(alone)
    subprocess.run(["git", "-C", str(alone), "config", "user.useConfigOnly", "true"], check=True)
    error = refused(alone, "commit", "-m", "x")
    assert error.what == "git commit failed: git does not know who commits"
    assert "user.email" in error.mend
    assert error.rows == []


def test_no_repository(alone: Path) -> None:
    error = refused(alone, "status")
    assert "is in no git repository" in error.what
    assert "git init" in error.mend


def test_no_git(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(alone))
    error = refused(alone, "status")
    assert error.what == "git is not installed, or not on PATH"
    assert "install git" in error.mend


def test_a_folder_of_another_user(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(alone)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    error = refused(alone, "status")
    assert error.mend == f"git config --global --add safe.directory {alone}"


def test_a_shallow_clone(alone: Path) -> None:
    repository(alone)
    commit(alone)
    old = git(alone, "rev-parse", "HEAD~1").strip()
    clone = alone.with_name("clone")
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{alone}", str(clone)], check=True)
    with pytest.raises(VersioningError, match="shallow clone") as caught:
        resolve(clone, old)
    assert caught.value.mend == "git fetch --unshallow"
    with pytest.raises(VersioningError, match="no commit, branch or tag is called 'none'") as caught:
        resolve(alone, "none")
    assert "git log" in caught.value.mend


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("ERROR: you are not inside of a DVC repository (checked up to mount point '/')", "dvc init"),
        ("fatal: your current branch 'main' does not have any commits yet", "mufin data commit"),
        ("fatal: Unable to create '/x/.git/index.lock': File exists.", "index.lock"),
        ("/usr/bin/python: No module named dvc", "pip install"),
        ("ERROR: unexpected error - [Errno 13] Permission denied: 'data'", "ls -l"),
    ],
)
def test_causes(tmp_path: Path, text: str, hint: str) -> None:
    cause = tool_faults.cause(tmp_path, text)
    assert cause is not None
    assert hint in cause.hint


def test_what_nobody_knows(tmp_path: Path) -> None:
    assert tool_faults.cause(tmp_path, "fatal: bananas") is None
