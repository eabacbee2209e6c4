"""Versions of the data: a version is one git commit of pointers, and DVC holds what they point to.

The pointers are params.yaml, dvc.lock and each dataset's catalog.dvc; nothing else is committed here.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mufin_dagster import pipeline, stale, versioning
from mufin_dagster.versioning import VersioningError
from mufin_model.artefacts import CATALOG, Workspace
from mufin_model.config import read
from mufin_model.errors import DatasetError

DESCRIPTORS = "raw_descriptors"
"""The artefact that tells what a version holds: tables and images as every stage reads them."""
SHARED = ("params.yaml", "dvc.lock")


@dataclass(frozen=True)
class Version:
    """A commit since which a dataset's data are other than before it.

    Attributes:
        commit: its hash.
        date: ISO 8601, of the commit.
        message: its first line.
        catalog: DVC's hash of the catalogue; None where it was not there yet.
        descriptors: DVC's hash of raw_descriptors; None where the catalogue was not ingested.
    """

    commit: str
    date: str
    message: str
    catalog: str | None
    descriptors: str | None


def git(root: Path, *arguments: str) -> str:
    """Run git in the project.

    Raises:
        VersioningError: it failed; the text is git's own.
    """
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise VersioningError(
            f"git {arguments[0]} failed",
            where=f"git {' '.join(arguments)}",
            rows=(done.stderr or done.stdout).strip().splitlines()[-5:],
            mend="versions of the data are git commits: `git init` makes a repository, `git log` shows its commits",
        )
    return done.stdout


def resolve(root: Path, rev: str) -> str:
    """The hash of the commit that a name stands for.

    Raises:
        VersioningError: there is none.
    """
    return git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}").strip()


def known(workspace: Workspace, datasets: Sequence[str]) -> list[str]:
    """The datasets asked for, or all.

    Raises:
        DatasetError: one is not registered.
    """
    registered = [str(name) for name in read(workspace.params).get("datasets") or []]
    for name in datasets:
        if name not in registered:
            raise DatasetError(
                f"no dataset named {name!r}", where="params.yaml", mend=f"one of {', '.join(registered)}"
            )
    return list(datasets) or registered


def commit(workspace: Workspace, message: str, datasets: Sequence[str] = ()) -> str | None:
    """Record the catalogues as they are and commit the pointers, and nothing else.

    Returns:
        The commit's hash; None where nothing has changed since the last one.

    Raises:
        VersioningError: raw_descriptors are not of this catalogue and these settings, or git or DVC refused.
    """
    chosen = known(workspace, datasets)
    root = workspace.root
    for name in chosen:
        if not workspace.catalog(name).is_dir():
            continue
        with versioning.exclusive(root, f"ingest.{name}"):
            versioning.record_catalog(workspace, name)
            if workspace.path(name, DESCRIPTORS).is_dir():
                _refuse_stale(workspace, name)
    paths = [path for path in (*SHARED, *(pointer(name) for name in chosen)) if (root / path).is_file()]
    git(root, "add", "--", *paths)
    if not git(root, "status", "--porcelain", "--untracked-files=no", "--", *paths):
        return None
    git(root, "commit", "--quiet", "--message", message, "--", *paths)
    return resolve(root, "HEAD")


def history(workspace: Workspace, dataset: str) -> list[Version]:
    """The versions of a dataset that led to the present commit, the newest first."""
    paths = (pointer(dataset), "dvc.lock")
    told = git(workspace.root, "log", "--format=%H%x09%cI%x09%s", "HEAD", "--", *paths)
    found = []
    for line in told.splitlines():
        hash_, date, message = line.split("\t", 2)
        found.append(Version(hash_, date, message, *hashes(workspace.root, hash_, dataset)))
    before = [*found[1:], None][: len(found)]
    return [
        version
        for version, last in zip(found, before, strict=True)
        if (version.catalog, version.descriptors) != ((last.catalog, last.descriptors) if last else (None, None))
    ]


def pointer(dataset: str) -> str:
    """DVC's pointer to a catalogue, relative to the project."""
    return f"data/{dataset}/{CATALOG}.dvc"


def text_at(root: Path, commit: str, path: str) -> str | None:
    """A file of git as a commit has it; None where it has none."""
    listed = git(root, "ls-tree", "--name-only", commit, "--", path)
    return git(root, "show", f"{commit}:./{path}") if listed.strip() else None


def _refuse_stale(workspace: Workspace, name: str) -> None:
    address = f"{DESCRIPTORS}@{name}"
    stages = [stage for stage in pipeline.load(workspace.root) if stage.address == address]
    if why := stale.reasons(workspace.root, stages).get(address):
        raise VersioningError(
            f"{DESCRIPTORS} of {name} are not of this catalogue and these settings",
            where=f"data/{name}/{DESCRIPTORS}",
            rows=why,
            mend=f"mufin ingest --dataset {name}, then commit",
        )


def hashes(root: Path, commit: str, dataset: str) -> tuple[str | None, str | None]:
    """DVC's hashes of the catalogue and of raw_descriptors in a commit; None for what it has not."""

    def first(entry: Any) -> str | None:
        return str(entry["outs"][0]["md5"]) if entry and entry.get("outs") else None

    catalog, lock = text_at(root, commit, pointer(dataset)), text_at(root, commit, "dvc.lock")
    stages = (yaml.safe_load(lock) or {}).get("stages") or {} if lock else {}
    return first(yaml.safe_load(catalog) if catalog else None), first(stages.get(f"{DESCRIPTORS}@{dataset}"))
