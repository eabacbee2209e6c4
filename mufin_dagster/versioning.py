"""DVC's commands, as one calls them in a shell.

Through sub-processes: DVC's Python calls resolve paths against the current folder and share state between threads.
`--wait-for-lock`, because DVC otherwise gives up after three seconds while another step commits.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mufin_dagster import pointers, tool_faults
from mufin_model import artefacts
from mufin_model.artefacts import CATALOG, Workspace, full, write_text
from mufin_model.errors import DiskError, MufinError

IN_STAGE = "DVC_STAGE"
"""Environment variable that DVC sets for a stage's command, and Dagster's steps as well: they record what it leaves."""

ALWAYS = "always changed"
"""DVC's word for a stage with `always_changed`."""


class VersioningError(MufinError):
    """DVC refused a command."""


def environment(root: Path) -> dict[str, str]:
    """What a stage's command runs with: `python` of this installation, and lines sent as they come."""
    bin_folder = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": f"{bin_folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "MUFIN_ROOT": str(root),
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "1",
    }


def command(cmd: str) -> str:
    """A stage's command with `mufin` of this interpreter, whatever is first on PATH.

    As a module, from the project's folder: the project's own copy of the library is found first.
    """
    name, _, arguments = cmd.partition(" ")
    return f"{shlex.quote(sys.executable)} -m mufin_dagster.cli {arguments}" if name == "mufin" else cmd


def dvc(root: Path, *arguments: str) -> str:
    """Run `dvc ARGUMENTS` in the project and return what it prints.

    Raises:
        VersioningError: it failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments],
        cwd=root,
        env=environment(root),
        capture_output=True,
        text=True,
        errors="replace",
    )
    # DVC ends with 0 where it could not copy files into its cache, and only says so.
    if done.returncode or "ERROR: failed to transfer" in done.stderr:
        told = (done.stderr or done.stdout).strip()
        if full(OSError(told)):
            raise DiskError(
                f"no room for what dvc {arguments[0]} writes; the version recorded last is untouched",
                where=str(root / ".dvc" / "cache"),
                mend="free space and run the same command again; `dvc gc -w` removes versions no commit needs",
            )
        found = tool_faults.cause(root, told)
        raise VersioningError(
            f"dvc {arguments[0]} failed" + (f": {found.what}" if found else ""),
            where=f"dvc {' '.join(arguments)}",
            mend=found.hint if found else "run that command in a shell: it says why",
        )
    return done.stdout


def record(workspace: Workspace, dataset: str, noun: str) -> None:
    """Tell DVC what a stage run by hand has left, and first the catalogue that it read.

    Only pointers change in the project: catalog.dvc and dvc.lock.

    Raises:
        VersioningError: DVC refused it.
    """
    from mufin_model.fingerprint.record import refresh

    record_catalog(workspace, dataset)
    refresh(workspace.root)
    commit(workspace.root, f"{noun}@{dataset}", workspace.root / "dvc.lock")


def commit(root: Path, target: str, pointer: Path) -> None:
    """`dvc commit -f`; where it fails, the target's entry stays as it was, for what it points to is not in the cache.

    Entries of others stay as they are: another process may have recorded one meanwhile.

    Raises:
        VersioningError: DVC refused it.
        DiskError: there is no room in the cache.
    """
    with exclusive(root, "record"):
        pointers.settle(root)
        before = pointer.read_text() if pointer.is_file() else None
        try:
            dvc(root, "commit", "-f", target)
        except MufinError:
            _put_back(pointer, target, before)
            raise
        pointers.settle(root)


def _put_back(pointer: Path, target: str, before: str | None) -> None:
    """The target's entry as it was; dvc.lock holds others beside it, a catalogue's pointer is one as a whole."""
    from dvc.utils.serialize import dumps_yaml, parse_yaml

    if pointer.suffix != ".lock":
        if before is None:
            pointer.unlink(missing_ok=True)
        else:
            write_text(pointer, before)
        return
    now = parse_yaml(pointer.read_text(), pointer) if pointer.is_file() else {}
    stages = now.get("stages") or {}
    old = (parse_yaml(before, pointer).get("stages") or {}) if before else {}
    if stages.get(target) == old.get(target):
        return
    if target in old:
        stages[target] = old[target]
    else:
        del stages[target]
    if stages:
        write_text(pointer, dumps_yaml(now))
    else:
        pointer.unlink()


def record_catalog(workspace: Workspace, dataset: str) -> None:
    """Tell DVC the catalogue as it is now."""
    folder = workspace.catalog(dataset)
    pointer = folder.with_name(f"{CATALOG}.dvc")
    if pointer.is_file():
        commit(workspace.root, str(pointer.relative_to(workspace.root)), pointer)
    else:
        dvc(workspace.root, "add", str(folder.relative_to(workspace.root)))


def exclusive(root: Path, name: str) -> AbstractContextManager[None]:
    """A block of the project that one process at a time may be in."""
    return artefacts.exclusive(root / ".dvc" / "tmp" / f"{name}.lock")


def status(root: Path, *addresses: str) -> dict[str, list[str]]:
    """Address to what DVC finds changed, of the stages that are not up to date; `stale.reasons` says it in words.

    One that always runs is left out: what it wrote tells whether anything changed.
    """
    found: Mapping[str, list[Any]] = json.loads(dvc(root, "status", "--json", *addresses) or "{}")
    return {
        address: [line for change in changes for line in _lines(change)]
        for address, changes in found.items()
        if ALWAYS not in changes
    }


def _lines(change: Any) -> list[str]:
    """DVC's nested answer as short lines: "deps: data/demo/catalog modified"."""
    if isinstance(change, str):
        return [change]
    lines = []
    for kind, items in change.items():
        what = kind.removeprefix("changed ")
        for name, state in items.items() if isinstance(items, Mapping) else []:
            if isinstance(state, Mapping):  # params: file, then key
                lines += [f"{what}: {key} {how}" for key, how in state.items()]
            else:
                lines.append(f"{what}: {name} {state}")
    return lines
