"""Whether a command ended for want of memory, and whose: told apart from one that was killed, or whose machine went.

The kernel counts whom it killed, for the container (cgroup) and for the machine; a program that is refused memory says
so in its last lines.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

Memory = Literal["limit", "machine", "GPU", "refused"]
"""What ran out: the container's limit, the machine's memory, the GPU's, or a request was refused outright."""

LINES = 8
"""At the end of what a command wrote."""
GPU = re.compile(r"CUDA (error: )?out of memory|torch\.(cuda\.)?OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED", re.I)
REFUSED = re.compile(
    r"\bMemoryError\b|Cannot allocate memory|DefaultCPUAllocator|std::bad_alloc|Unable to allocate", re.I
)
EVICTED = re.compile(r"ray\S*\.OutOfMemoryError|^OutOfMemoryError|OOMKilled|low on memory", re.M)

HINT = (
    "less memory: a smaller batch_size of the stage (encode, pretrain, finetune), pretrain.head=none for many labels, "
    "fewer of execution.steps at once, or more `memory_gb` in dvc.yaml's meta.dagster of the stage"
)
AGAIN = {"limit": False, "refused": False, "machine": True, "GPU": True}
"""A limit of its own is met the same twice over; a machine or GPU may have been another's too."""


class Kills(NamedTuple):
    """So many met the container's limit, so many the kernel killed in it, so many on the machine."""

    limit: int
    container: int
    machine: int


def kills() -> Kills:
    """The kernel's counters now; 0 where it has none."""
    limit = container = 0
    for folder in _cgroups():
        told = _counts(folder / "memory.events") or _counts(folder / "memory.oom_control")
        limit += told.get("oom", 0)
        container += told.get("oom_kill", 0)
    return Kills(limit, container, _counts(Path("/proc/vmstat")).get("oom_kill", 0))


def ran_out(code: int, tail: str, before: Kills, now: Kills | None = None) -> Memory | None:
    """What ran out of a command that ended, or None.

    Args:
        code: its exit code; negative for a signal, as a shell has it 128 and the signal.
        tail: its last lines.
        before: the counters when it began.
        now: the counters when it had ended; looked up by default.
    """
    if not code:
        return None
    last = "\n".join(tail.splitlines()[-LINES:])
    if code in (-9, 137):
        now = now or kills()
        if now.limit > before.limit:
            return "limit"
        if now.container > before.container or now.machine > before.machine or EVICTED.search(last):
            return "machine"
        return None
    return "GPU" if GPU.search(last) else "refused" if REFUSED.search(last) else None


def _cgroups() -> list[Path]:
    """Folders of this process's memory cgroup: version 2, or 1."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    root, found = Path("/sys/fs/cgroup"), []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / "memory" if controllers else root
        # within a container the path may be the host's, and the folder be mounted as the root
        folder = base / path.lstrip("/")
        found.append(folder if folder.is_dir() else base)
    return found


def _counts(path: Path) -> dict[str, int]:
    try:
        pairs = (line.split() for line in path.read_text().splitlines())
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
    except (OSError, ValueError):
        return {}
