"""Runs the stage release in child processes that kill themselves (SIGKILL) at one step after another.

    python -m tests.release.killed ROOT

Prints a line for each step: the step, the release named by the pointer, whether its files are whole, and which releases
a next, unbroken run then serves.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mufin_model import artefacts
from mufin_model.artefacts import Workspace
from mufin_model.release import release, shelf
from tests.conftest import small_settings

STEPS: dict[str, tuple[Any, str]] = {
    "packed": (release.gate, "judge"),
    "recorded": (shelf.Shelf, "take"),
    "taken": (shelf.Shelf, "point"),
    "pointed": (shelf.Shelf, "mirror"),
    "mirror filled": (artefacts, "swap"),
}
"""What was done last, and the call that the process does not survive."""


def _in_child(action: Callable[[], None]) -> int:
    # Nothing has started a thread in this process, so its children are whole.
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        action()
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(root: Path) -> None:
    for step, (owner, name) in STEPS.items():
        site = root.parent / f"{root.name}-{step.replace(' ', '-')}"
        shutil.copytree(root, site, symlinks=True)
        workspace, settings = Workspace(site), small_settings("release.gate=false", "release.keep=1")

        def killed(
            owner: Any = owner, name: str = name, workspace: Workspace = workspace, settings: Any = settings
        ) -> None:
            setattr(owner, name, _die)
            release.run(workspace, "demo", settings)

        told = {"step": step, "code": _in_child(killed)}
        stands = shelf.Shelf(workspace, "demo")
        told["served"] = json.loads((stands.folder / "current.json").read_text())["release"]
        told["whole"] = _in_child(lambda stands=stands, told=told: release.verify(stands.path(told["served"]))) == 0
        mirror = workspace.path("demo", "released_model")
        told["mirror whole"] = _in_child(lambda mirror=mirror: release.verify(mirror)) == 0
        told["again"] = _in_child(lambda w=workspace, s=settings: release.run(w, "demo", s))
        told["then"] = json.loads((stands.folder / "current.json").read_text())["release"]
        told["left"] = sorted(path.name for path in stands.folder.iterdir() if path.name.startswith("."))
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
