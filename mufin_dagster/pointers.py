"""Copies of dvc.lock and of each catalog.dvc, and their repair after a kill inside DVC's own write.

DVC empties a file and then writes it. Who is killed meanwhile leaves the file's first part, often valid YAML with
fewer stages: those that lack would count as never run and be trained again. A file that git holds as it is, one that
was deleted, and entries of stages that dvc.yaml no longer declares are left alone: they are somebody's will.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mufin_model.artefacts import CATALOG, write_text
from mufin_model.errors import MufinError
from mufin_model.progress import say

LOCK = "dvc.lock"
COPIES = Path(".dvc", "tmp", "pointers")
NOTE = COPIES / "repaired.txt"
"""What was repaired last, for `mufin status`."""
TOLD_SECONDS = 24 * 3600
"""How long it is told."""


def settle(root: Path) -> None:
    """Repair what a killed write has left; keep a copy of what is whole. Costs a comparison where nothing changed."""
    for path in [root / LOCK, *sorted(root.glob(f"data/*/{CATALOG}.dvc"))]:
        name = path.relative_to(root).as_posix()
        copy = root / COPIES / name.replace("/", "..")
        if not path.is_file() or (copy.is_file() and copy.read_bytes() == path.read_bytes()):
            continue
        with locked(root):  # nobody of DVC writes now
            _settle(root, path, name, copy)


def repaired(root: Path) -> str:
    """What was repaired within a day, in words; empty where nothing was."""
    note = root / NOTE
    fresh = note.is_file() and time.time() - note.stat().st_mtime < TOLD_SECONDS
    return note.read_text().strip() if fresh else ""


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """DVC's own lock."""
    from dvc.lock import make_lock
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        assert repo.tmp_dir is not None
        with make_lock(os.path.join(repo.tmp_dir, "lock"), tmp_dir=repo.tmp_dir, wait=True):
            yield


def committed(root: Path, path: str) -> bool:
    """Whether some commit has the file with these bytes; False where there is no git to ask."""
    from mufin_dagster.data_versions import git

    if not (root / path).is_file():
        return False
    try:
        blob = git(root, "hash-object", "--", path).strip()
        return bool(git(root, "log", "--all", "--format=%H", f"--find-object={blob}", "--", path).strip())
    except MufinError:
        return False


def _settle(root: Path, path: Path, name: str, copy: Path) -> None:
    now = _parsed(path)
    before = _parsed(copy) if copy.is_file() else None
    if name == LOCK:
        # DVC ends its files with a new line: without one, YAML or not, it is a part
        read = now if path.read_text(errors="replace").endswith("\n") else _without_last(now)
        mended = _mended_lock(read, before, _declared(root)) if before else None
    else:
        mended = before if before and not _points(now) else None
    if mended is not None and not committed(root, name):
        from dvc.utils.serialize import dumps_yaml

        write_text(path, dumps_yaml(mended))
        told = f"{name} was cut short by a write that was killed: repaired from the copy kept before"
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_text(root / NOTE, told + "\n")
        say(told)
    elif now is None:
        return  # broken by other means: the copy is worth more
    copy.parent.mkdir(parents=True, exist_ok=True)
    write_text(copy, path.read_text())


def _parsed(path: Path) -> dict[str, Any] | None:
    """A file's content; None where it is not YAML or holds no mapping."""
    from dvc.utils.serialize import YAMLFileCorruptedError, parse_yaml_for_update

    try:
        found = parse_yaml_for_update(path.read_text(), str(path))
    except (YAMLFileCorruptedError, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) else None


def _without_last(content: dict[str, Any] | None) -> dict[str, Any] | None:
    """dvc.lock without its last stage, of which only a part is there."""
    stages = (content or {}).get("stages") or {}
    return {**(content or {}), "stages": dict(list(stages.items())[:-1])} if isinstance(stages, Mapping) else None


def _points(content: Mapping[str, Any] | None) -> bool:
    """Whether a catalogue's pointer names its bytes."""
    outs = (content or {}).get("outs") or []
    return bool(outs) and all(isinstance(out, Mapping) and out.get("md5") and out.get("path") for out in outs)


def _mended_lock(
    now: Mapping[str, Any] | None, before: dict[str, Any], declared: Mapping[str, frozenset[str]]
) -> dict[str, Any] | None:
    """dvc.lock as it was, with the entry recorded meanwhile; None where it is not the first part of a write.

    A write changes one entry and keeps the order. The last entry of a first part may be half of one.
    """
    old: Mapping[str, Any] = before.get("stages") or {}
    new: Mapping[str, Any] = (now or {}).get("stages") or {}
    names = list(new)
    if not isinstance(new, Mapping) or names[:-1] != list(old)[: len(names[:-1])]:
        return None
    changed = [name for name in names[:-1] if new[name] != old[name]]
    lacking = [name for name in old if name not in new and name in declared]
    half = (
        bool(names) and names[-1] in old and _half(new[names[-1]], old[names[-1]], declared.get(names[-1], frozenset()))
    )
    if len(changed) > 1 or not (lacking or half or (now is None and old)):
        return None
    stages = {name: entry for name, entry in old.items() if name in declared}
    return {**before, "stages": stages | {name: new[name] for name in changed}}


def _half(new: Any, old: Mapping[str, Any], outs: frozenset[str]) -> bool:
    """Whether an entry lacks a part that it had, or an out that dvc.yaml declares."""
    if not isinstance(new, Mapping) or any(key in old and not new.get(key) for key in ("cmd", "deps", "outs")):
        return True
    return _named(old) == outs and _named(new) != outs


def _named(entry: Mapping[str, Any]) -> frozenset[str]:
    """Paths of an entry's outs that have a hash."""
    return frozenset(out["path"] for out in entry.get("outs") or [] if out.get("path") and out.get("md5"))


def _declared(root: Path) -> dict[str, frozenset[str]]:
    """Paths of the outs that dvc.yaml declares, by the stage's address."""
    from dvc.dvcfile import load_file
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        file = load_file(repo, str(root / "dvc.yaml"))
        stages = file.LOADER(file, file.contents)
        return {name: frozenset(out.def_path for out in stage.outs) for name, stage in stages.items()}
