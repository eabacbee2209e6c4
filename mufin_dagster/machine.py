"""A stage's command on this machine, with GPUs of its own while it runs.

The pool `gpu` lets no more steps in than there are GPUs; a lease says which one is whose. It is a lock on a file, so
that it ends with its process however that ends, and it holds between projects of one user.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Literal

from mufin_dagster import process
from mufin_dagster.process import Ended
from mufin_dagster.versioning import command, environment
from mufin_model.artefacts import Workspace
from mufin_model.training.launch import RANKS

POLL_SECONDS = 1.0
"""Between two looks for a free GPU."""


def gpus(setting: Literal["auto"] | int = "auto") -> list[str]:
    """The GPUs of this machine as CUDA_VISIBLE_DEVICES names them; `auto` counts NVIDIA's device files."""
    if setting != "auto":
        return [str(index) for index in range(setting)]
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in visible.split(",") if name.strip() not in ("", "-1")]
    devices = [entry for entry in os.listdir("/dev") if re.fullmatch(r"nvidia\d+", entry)]
    return [str(index) for index in range(len(devices))]


def run(
    workspace: Workspace,
    cmd: str,
    want: int,
    have: Sequence[str],
    env: Mapping[str, str],
    forward: Callable[[str], None],
) -> Ended:
    """Run a command in the project with so many of the GPUs there are, one training process each."""
    with lease(have, want) as taken:
        own = {RANKS: str(max(1, len(taken)))}
        if taken:
            own["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
            forward(f"on GPU {', '.join(taken)} of {len(have)}")
        whole = environment(workspace.root) | dict(env) | own
        return process.run(command(cmd), cwd=workspace.root, env=whole, forward=forward)


@contextmanager
def lease(have: Sequence[str], want: int, folder: Path | None = None) -> Iterator[list[str]]:
    """A block that has GPUs to itself; waits until they are free. All of them where more are wanted than there are.

    Args:
        have: their names.
        want: how many.
        folder: of the locks; a folder of this user by default.
    """
    want = min(want, len(have))
    if not want:
        yield []
        return
    folder = folder or Path(tempfile.gettempdir()) / f"mufin-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with ExitStack() as held:
        while not (taken := _take(folder, have, want, held)):
            time.sleep(POLL_SECONDS)
        yield taken


def _take(folder: Path, have: Sequence[str], want: int, held: ExitStack) -> list[str]:
    """As many as wanted or none: two steps that each hold half of what they want would wait for ever."""
    locks: dict[str, IO[str]] = {}
    with ExitStack() as attempt:
        for name in have:
            lock = attempt.enter_context((folder / re.sub(r"\W", "_", name)).open("w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            locks[name] = lock
            if len(locks) == want:
                held.push(attempt.pop_all())
                return list(locks)
    return []
