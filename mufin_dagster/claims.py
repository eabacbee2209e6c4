"""One run of a dataset at a time: a run claims its datasets before its first step, and waits for whom has them.

A claim is a lock on `data/<dataset>/.state/run.lock`, which ends with its holder, however that ends. The file says who
holds it. Datasets are claimed in sorted order, so that two runs over several datasets never wait for each other.

The queue holds runs of one dataset back by their tag (coordinator.py). Claims hold for runs that no queue has seen, in
a shell, and for runs over several datasets.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from mufin_model.artefacts import Workspace

POLL_SECONDS = 1.0
WAITS = " waits for "


@dataclass(frozen=True)
class Holder:
    """A run: its id, its job, and since when it holds the claim (ISO 8601, UTC)."""

    run: str
    job: str
    since: str

    def __str__(self) -> str:
        return f"run {self.run[:8]} ({self.job}, since {self.since})"


@contextmanager
def claimed(
    workspace: Workspace, datasets: Iterable[str], run: str, job: str, waits: Callable[[str], None]
) -> Iterator[None]:
    """A block in which no other run is of these datasets.

    Args:
        workspace: the project.
        datasets: their names.
        run, job: who claims them.
        waits: is given `two waits for run X (job, since when)`, once a holder, and "" at each look; it may raise.
    """
    with ExitStack() as stack:
        for dataset in sorted(set(datasets)):
            stack.enter_context(_claim(workspace, dataset, run, job, waits))
        yield


@contextmanager
def _claim(workspace: Workspace, dataset: str, run: str, job: str, waits: Callable[[str], None]) -> Iterator[None]:
    path = _path(workspace, dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        told = None
        while not _taken(file):
            held = holder(workspace, dataset)
            if held != told or told is None:
                waits(f"{dataset}{WAITS}{held or 'another run'}")
                told = held
            waits("")
            time.sleep(POLL_SECONDS)
        _write(file, json.dumps(asdict(Holder(run, job, datetime.now(UTC).isoformat(timespec="seconds")))))
        try:
            yield
        finally:
            _write(file, "")


def holder(workspace: Workspace, dataset: str) -> Holder | None:
    """Who holds a dataset's claim, as far as its file tells; None where nobody does."""
    path = _path(workspace, dataset)
    if not path.is_file():
        return None
    with path.open("a+") as file:
        if _taken(file):
            fcntl.flock(file, fcntl.LOCK_UN)
            return None
        file.seek(0)
        try:
            return Holder(**json.load(file))
        except ValueError:
            return None  # it has the lock and is about to write


def _path(workspace: Workspace, dataset: str) -> Path:
    return workspace.dataset(dataset) / ".state" / "run.lock"


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()
