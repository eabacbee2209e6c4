"""A stage's command as a child process: its lines forwarded as they come, ended with all its children on Cancel."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mufin_dagster import memory
from mufin_dagster.memory import Memory

FLUSH_SECONDS = 0.5
"""Lines that come within this time are forwarded as one message, so that a burst does not flood the event log."""
GRACE_SECONDS = 5.0
"""Between SIGTERM, upon which a stage tidies up, and SIGKILL."""
MAY_PASS = 75
"""Exit code of a typed error that may pass (mufin_model/cli.py)."""
TAIL = 60
"""Lines kept to explain a failure."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    `tail` holds the last lines it wrote; `error` the typed error that it told,
    where its exit code is 2, or 75 for one that may pass; `memory` whose memory ran out, where that ended it.
    """

    code: int
    tail: str
    error: str | None
    memory: Memory | None = None


def run(cmd: str, *, cwd: Path, env: Mapping[str, str], forward: Callable[[str], None]) -> Ended:
    """Run a shell command to its end, in a process group of its own.

    Any exception meanwhile (Cancel arrives as one) ends the group: SIGTERM, and SIGKILL five seconds later. So does
    the end of this process, be it by SIGKILL: a command that goes on unseen would write beside its own repetition.

    Args:
        cmd: as dvc.yaml has it.
        cwd: the project's folder.
        env: the whole environment.
        forward: is given what the command writes, some lines at a time.
    """
    child = subprocess.Popen(
        cmd,
        shell=True,
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    before = memory.kills()
    tail: deque[str] = deque(maxlen=TAIL)
    try:
        with _guard(child):
            _pump(child, tail, forward)
            code = child.wait()
    except BaseException:
        _end(child)
        raise
    text = "\n".join(tail)
    typed = _mistake(tail) if code in (2, MAY_PASS) else None
    return Ended(code, text, typed, None if typed else memory.ran_out(code, text, before))


@contextmanager
def _guard(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """A shell that reads a pipe of which this process holds the other end; its end without a word is our death."""
    script = f'read -r _ || {{ kill -TERM -"$0"; sleep {GRACE_SECONDS:g}; kill -KILL -"$0"; }}'
    guard = subprocess.Popen(
        ["/bin/sh", "-c", script, str(child.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        guard.communicate(b"over\n")


def _pump(child: subprocess.Popen[bytes], tail: deque[str], forward: Callable[[str], None]) -> None:
    assert child.stdout is not None
    held: list[str] = []
    rest = b""
    sent = 0.0

    def flush() -> None:
        nonlocal sent
        if held:
            forward("\n".join(held))
            held.clear()
            sent = time.monotonic()

    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            # select, not readline: Cancel interrupts it at once, and held lines go out while the command is silent
            if selector.select(FLUSH_SECONDS):
                chunk = os.read(child.stdout.fileno(), 1 << 16)
                if not chunk:
                    break
                *lines, rest = (rest + chunk).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
                shown = [text for line in lines if (text := line.decode(errors="replace").rstrip())]
                held += shown
                tail.extend(shown)
            if time.monotonic() - sent >= FLUSH_SECONDS:
                flush()
    if rest.strip():
        held.append(rest.decode(errors="replace").rstrip())
        tail.append(held[-1])
    flush()


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the whole group; a second interruption meanwhile skips the wait, never the kill."""
    try:
        _signal(child, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_SECONDS)
    finally:
        _signal(child, signal.SIGKILL)
        child.wait()


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def _mistake(tail: deque[str]) -> str:
    """The text of the MufinError that ended a stage: from its `SomeError: ...` line on."""
    lines = list(tail)
    for at in range(len(lines) - 1, -1, -1):
        if re.match(r"\w+Error: ", lines[at]):
            return "\n".join(lines[at:])
    return "\n".join(lines)
