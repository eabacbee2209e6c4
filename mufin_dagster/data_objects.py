"""What DVC holds of a version: which files, where in the cache, and whether their bytes are still what they were.

DVC trusts a file of its cache that is read-only: a damaged one is checked out without a word. So nothing of an
earlier version is used here before its MD5 is that of its name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mufin_dagster import versioning
from mufin_dagster.data_versions import git, text_at
from mufin_dagster.versioning import VersioningError
from mufin_model.artefacts import Workspace


class CacheError(VersioningError):
    """A file of DVC's cache is damaged, or what a version points to is neither in the cache nor in the remote."""


@dataclass(frozen=True)
class Objects:
    """The files of one version and where DVC's cache has them.

    Attributes:
        files: MD5 of each file, by its path in the project.
        folders: MD5 of each folder's listing, `.dir` at its end, by the folder's path.
        missing: folders whose listing the cache has not; their files are not in `files`.
        cache: the folder of the cache's objects.
    """

    files: Mapping[str, str]
    folders: Mapping[str, str]
    missing: Sequence[str]
    cache: Path

    def at(self, md5: str) -> Path:
        """Where the cache has, or would have, an object."""
        return self.cache / md5[:2] / md5[2:]

    def within(self, folder: str) -> list[str]:
        """Paths of a folder's files."""
        return [path for path in self.files if path.startswith(f"{folder}/")]

    def held(self, path: str) -> Path:
        """Where the cache has a file, or a folder's listing."""
        return self.at(self.files[path] if path in self.files else self.folders[path])


def objects(workspace: Workspace, commit: str | None) -> Objects:
    """What a commit's pointers, or those in the project (None), point to."""
    cache = Path(versioning.dvc(workspace.root, "cache", "dir").strip()) / "files" / "md5"
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    missing: list[str] = []
    for path, md5 in _outs(workspace, commit):
        if not md5.endswith(".dir"):
            files[path] = md5
            continue
        folders[path] = md5
        listing = cache / md5[:2] / md5[2:]
        if not listing.is_file() or _md5(listing) != md5.removesuffix(".dir"):
            missing.append(path)
            continue
        files |= {f"{path}/{entry['relpath']}": entry["md5"] for entry in json.loads(listing.read_bytes())}
    return Objects(files, folders, missing, cache)


def verify(found: Objects, paths: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Read the cache's files and compare their MD5 with their names.

    Args:
        found: of a version.
        paths: of the files, or folders, to look at; all by default.

    Returns:
        What the cache has not, and what it has with other bytes: paths of files, or of a folder for its listing.
    """
    over = [path for path in found.missing if not paths or any(f"{one}/".startswith(f"{path}/") for one in paths)]
    absent = [path for path in over if not found.held(path).is_file()]
    damaged = [path for path in over if path not in absent]
    wanted = [path for one in paths for path in (found.within(one) if one in found.folders else [one])]
    for path in wanted if paths else found.files:
        if path not in found.files:
            if not any(path.startswith(f"{folder}/") for folder in over):
                absent.append(path)
        elif not found.held(path).is_file():
            absent.append(path)
        elif _md5(found.held(path)) != found.files[path]:
            damaged.append(path)
    return absent, damaged


def ensure(workspace: Workspace, commit: str | None, paths: Sequence[str] = (), mend: bool = False) -> Objects:
    """The objects of a version, all in the cache and all sound; what is absent is fetched from the remote.

    Args:
        workspace: the project.
        commit: its hash; None: the pointers as they are in the project.
        paths: of the files, or folders, that are needed; all by default.
        mend: remove damaged files from the cache and fetch them anew.

    Raises:
        CacheError: a file is damaged, or neither in the cache nor in the remote.
    """
    found = objects(workspace, commit)
    absent, damaged = verify(found, paths)
    if damaged and mend:
        for path in damaged:
            found.held(path).unlink()
        absent, damaged = [*absent, *damaged], []
    if damaged:
        raise CacheError(
            f"{len(damaged):,} files of DVC's cache are damaged: their bytes are not what their names say",
            where=str(found.cache),
            rows=[f"{path}: {found.held(path)}" for path in damaged],
            mend=f"`mufin data verify{f' {commit[:10]}' if commit else ''} --mend` fetches them from the remote",
        )
    if not absent:
        return found
    told = _fetch(workspace, commit, [*paths] or absent)
    found = objects(workspace, commit)
    absent, damaged = verify(found, paths)
    if absent or damaged:
        raise CacheError(
            f"{len(absent) + len(damaged):,} files are neither in DVC's cache nor sound in its remote",
            where=str(found.cache),
            rows=[*absent, *damaged, *told],
            mend="run `dvc push` where they are; of the present version, `mufin materialize --force` makes them anew",
        )
    return found


@contextmanager
def repository(workspace: Workspace) -> Iterator[Any]:
    """DVC's own repository, for what its command line cannot do."""
    from dvc.repo import Repo

    with Repo(str(workspace.root), _wait_for_lock=True) as repo:
        yield repo


def _fetch(workspace: Workspace, commit: str | None, paths: Sequence[str]) -> list[str]:
    """Fetch files of a version; what DVC says where it cannot."""
    # DVC shows a commit as a file system of its own, whose root is git's.
    base = Path("/") / git(workspace.root, "rev-parse", "--show-prefix").strip() if commit else workspace.root
    targets = [str(base / path) for path in paths]
    try:
        with repository(workspace) as repo:
            repo.fetch(targets=targets, **({"revs": [commit], "workspace": False} if commit else {}))
    except Exception as error:  # every remote has its own kinds
        return [f"{type(error).__name__}: {error}"]
    return []


def _outs(workspace: Workspace, commit: str | None) -> Iterator[tuple[str, str]]:
    """Path and hash of all that catalog.dvc files and dvc.lock point to."""
    root = workspace.root
    if commit:
        names = git(root, "ls-tree", "-r", "--name-only", commit, "--", "data/").splitlines()
    else:
        names = [str(path.relative_to(root)) for path in sorted(root.glob("data/*/*.dvc"))]

    def text(path: str) -> str | None:
        if commit:
            return text_at(root, commit, path)
        return (root / path).read_text() if (root / path).is_file() else None

    for name in names:
        if name.endswith(".dvc"):
            for out in (yaml.safe_load(text(name) or "") or {}).get("outs", []):
                yield str(Path(name).parent / out["path"]), str(out["md5"])
    lock = yaml.safe_load(text("dvc.lock") or "") or {}
    for stage in (lock.get("stages") or {}).values():
        for out in stage.get("outs", []):
            yield str(out["path"]), str(out["md5"])


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
