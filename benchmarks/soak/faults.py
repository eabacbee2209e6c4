"""What goes wrong during a soak: processes killed at random moments, checkpoints damaged, a run beside a run."""

from __future__ import annotations

import os
import random
import subprocess
from collections import Counter
from collections.abc import Callable

import psutil

from .site import DATASET, Site

FORK, SPAWN = "multiprocessing.forkserver", "multiprocessing.spawn"
"""In the command lines of steps and their fork servers, and of runs."""


class Faults:
    """Each kind by its name, and how often it struck."""

    def __init__(self, site: Site, chance: random.Random) -> None:
        self.site, self.chance = site, chance
        self.struck: Counter[str] = Counter()
        self.beside: list[int] = []
        """Exit codes of commands that were run beside the daemon's runs."""
        self._beside: list[subprocess.Popen[bytes]] = []
        self._kinds: dict[str, Callable[[], bool]] = {
            "a stage's command, on the worker": self._command,
            "a worker, with all its processes": self._worker,
            "a worker's raylet alone": self._raylet,
            "a step's process": self._step,
            "a run's process": self._run,
            "the daemon": self._daemon,
            "the code server of the daemon": self._code_server,
            "the checkpoint damaged, and its command killed": self._checkpoint,
            "a second run of the same assets": self._second_run,
        }

    def strike(self) -> str | None:
        """One of those that can strike now, the rarer ones so far first; None while no stage runs on the worker."""
        if not self._commands():
            return None
        for kind in sorted(self._kinds, key=lambda kind: (self.struck[kind], self.chance.random())):
            try:
                if self._kinds[kind]():
                    self.struck[kind] += 1
                    return kind
            except psutil.NoSuchProcess:
                continue
        return None

    def settle(self) -> None:
        """Wait for what was started beside."""
        self.beside = [command.wait(1200) for command in self._beside]

    def _command(self) -> bool:
        return self._kill(self._commands())

    def _worker(self) -> bool:
        for process in self._on_worker():
            process.kill()
        return True

    def _raylet(self) -> bool:
        return self._kill([one for one in self._on_worker() if one.name() == "raylet"])

    def _step(self) -> bool:
        forked = [one for one in self.site.processes() if FORK in " ".join(one.cmdline())]
        pids = {one.pid for one in forked}
        return self._kill([one for one in forked if one.ppid() in pids])

    def _run(self) -> bool:
        servers = [one for one in self.site.processes() if FORK in " ".join(one.cmdline())]
        above = [psutil.Process(one.ppid()) for one in servers]
        return self._kill([one for one in above if SPAWN in " ".join(one.cmdline())])

    def _daemon(self) -> bool:
        self.site.running["daemon"].kill()
        return True

    def _code_server(self) -> bool:
        daemon = psutil.Process(self.site.running["daemon"].pid)
        return self._kill([one for one in daemon.children() if "grpc" in one.cmdline()])

    def _checkpoint(self) -> bool:
        kept = [file for file in (self.site.folder / "work" / "checkpoints").rglob("objects/*/*") if file.is_file()]
        if not kept or not self._command():
            return False
        largest = max(kept, key=lambda file: file.stat().st_size)
        os.truncate(largest, largest.stat().st_size // 2)
        return True

    def _second_run(self) -> bool:
        if len(self._beside) >= 2:
            return False
        self._beside.append(self.site.mufin("materialize", "-d", DATASET))
        return True

    def _on_worker(self) -> list[psutil.Process]:
        return list(self.site.processes(MUFIN_SCRATCH=str(self.site.scratch)))

    def _commands(self) -> list[psutil.Process]:
        """Stages under way on the worker."""
        return [one for one in self._on_worker() if "/bin/mufin" in " ".join(one.cmdline()[:2])]

    def _kill(self, found: list[psutil.Process]) -> bool:
        if not found:
            return False
        self.chance.choice(found).kill()
        return True
