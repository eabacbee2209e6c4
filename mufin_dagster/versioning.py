"""DVC's commands, as one calls them in a shell.

Through sub-processes: DVC's Python calls resolve paths against the current folder and share state between threads.
`--wait-for-lock`, because DVC otherwise gives up after three seconds while another step commits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mufin_model.errors import MufinError


class VersioningError(MufinError):
    """DVC refused a command."""


def environment(root: Path) -> dict[str, str]:
    """What a stage's command runs with: `mufin` and `python` of this installation, and lines sent as they come."""
    bin_folder = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": f"{bin_folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "MUFIN_ROOT": str(root),
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "1",
    }


def dvc(root: Path, *arguments: str) -> str:
    """Run `dvc ARGUMENTS` in the project and return what it prints.

    Raises:
        VersioningError: it failed; the text is DVC's own.
    """
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments],
        cwd=root,
        env=environment(root),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        told = (done.stderr or done.stdout).strip()
        raise VersioningError(
            f"dvc {arguments[0]} failed",
            where=f"dvc {' '.join(arguments)}",
            rows=told.splitlines()[-5:],
            mend="run the same command in a shell to see all of it",
        )
    return done.stdout


def status(root: Path, *addresses: str) -> dict[str, list[str]]:
    """Address to what DVC finds changed, of the stages that are not up to date."""
    found: Mapping[str, list[Any]] = json.loads(dvc(root, "status", "--json", *addresses) or "{}")
    return {address: [line for change in changes for line in _lines(change)] for address, changes in found.items()}


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
