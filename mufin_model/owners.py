"""Temporary names, and whether the process that made one still lives.

A process number means something within one container of one machine since its last start, and comes again there. So a
temporary name holds the place (host, start of the machine, container), the number and when the process began:
`.eval_report.<place>-<number>-<start>-<count>`. Of this place the owner is looked up. Of another one, over a shared
folder, nothing can be asked: its owner touches what it writes every few minutes, and untouched for a day it is dead.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import platform
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

TOUCH_SECONDS = 300.0
"""Between two signs of life."""
SILENT_SECONDS = 86_400.0
"""Without a sign of life, after which an owner of another place is dead: a machine may sleep for a while."""

_NAME = re.compile(r"(?P<place>[0-9a-f]{10})-(?P<pid>\d+)-(?P<start>\d+)-\d+")
_count = itertools.count()


def token() -> str:
    """A name that no other process has, on no other machine, and this one not twice."""
    return f"{_place()}-{os.getpid()}-{_started(os.getpid())}-{next(_count)}"


def abandoned(path: Path, now: float) -> bool:
    """Whether nobody writes to `<name>.<token>` any more.

    Args:
        path: a temporary file or folder.
        now: seconds, by the clock of the path's file system; a server's may differ from this machine's.
    """
    owner = _NAME.fullmatch(path.name.rpartition(".")[2])
    if owner and owner["place"] == _place():
        return not _lives(int(owner["pid"]), int(owner["start"]))
    try:
        return now - path.stat().st_mtime > SILENT_SECONDS
    except OSError:  # its owner was quicker
        return False


@contextmanager
def touched(path: Path) -> Iterator[None]:
    """A block in which `path` shows others that its owner lives."""
    stop = threading.Event()

    def touch() -> None:
        while not stop.wait(TOUCH_SECONDS):
            with suppress(OSError):
                os.utime(path)

    threading.Thread(target=touch, daemon=True).start()
    try:
        yield
    finally:
        stop.set()


@cache
def _place() -> str:
    """Where process numbers are this process's own: host, start of its kernel, and PID namespace."""
    told = [platform.node()]
    with suppress(OSError):
        told.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        told.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:10]


def _lives(pid: int, start: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _started(pid) in (start, 0)


def _started(pid: int) -> int:
    """When a process began, in ticks since the machine's start; 0 where it cannot be seen, -1 of one that has ended."""
    try:
        # the name, in brackets, may hold blanks and brackets
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return -1 if fields[0] in "ZX" else int(fields[19])
