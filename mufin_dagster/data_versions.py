"""Versions of the data: a version is one git commit of pointers, and DVC holds what they point to.

The pointers are params.yaml, dvc.lock and each dataset's catalog.dvc; nothing else is committed here.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mufin_dagster import pipeline, stale, tool_faults, versioning
from mufin_dagster.versioning import VersioningError
from mufin_model import config
from mufin_model.artefacts import CATALOG, Workspace, full
from mufin_model.errors import DiskError
from mufin_model.names import nearest

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
        VersioningError: it failed, or there is no git.
        DiskError: there is no room for it.
    """
    env = os.environ | tool_faults.CLEAR
    try:
        done = subprocess.run(["git", *arguments], cwd=root, env=env, capture_output=True, text=True, errors="replace")
    except FileNotFoundError as error:
        raise VersioningError(tool_faults.NO_GIT.what, where=str(root), mend=tool_faults.NO_GIT.hint) from error
    if done.returncode:
        told = done.stderr + done.stdout
        if full(OSError(told)):
            raise DiskError(f"no room for git {arguments[0]}", where=str(root), mend="free space and run it again")
        found = tool_faults.cause(root, told)
        raise VersioningError(
            f"git {arguments[0]} failed" + (f": {found.what}" if found else ""),
            where=f"git {' '.join(arguments)}",
            mend=found.hint if found else "run that command in a shell: it says why",
        )
    return done.stdout


def resolve(root: Path, rev: str) -> str:
    """The hash of the commit that a name stands for.

    Raises:
        VersioningError: there is none.
    """
    git(root, "rev-parse", "--git-dir")  # whose own failure has another cause
    try:
        return git(root, "rev-parse", "--verify", "--end-of-options", f"{rev}^{{commit}}").strip()
    except VersioningError as error:
        shallow = tool_faults.is_shallow(root)
        what = f"no commit, branch or tag is called {rev!r}"
        raise VersioningError(
            f"{what}; {tool_faults.SHALLOW.what}" if shallow else what,
            where=str(root),
            mend=tool_faults.SHALLOW.hint if shallow else _nearest(root, rev),
        ) from error


def _nearest(root: Path, rev: str) -> str:
    refs = git(root, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags").split()
    return nearest(rev, refs) or "git log --oneline --all shows the commits"


def known(workspace: Workspace, datasets: Sequence[str]) -> list[str]:
    """The datasets asked for, or all.

    Raises:
        DatasetError: one is not registered.
    """
    return config.datasets(workspace.params, datasets)


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
