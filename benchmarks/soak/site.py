"""The scratch project of a soak and its processes: daemon, web interface, Ray's head and worker, the model's server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml

from mufin_dagster import home
from mufin_model.artefacts import Workspace

REPOSITORY = Path(__file__).parents[2]
DATASET = "shop"
MARK = "MUFIN_SOAK"
"""Environment variable of every process of a soak, by which they are found and ended."""

TINY: dict[str, dict[str, Any]] = {
    "ingest": {"image_size": 16, "validation_fraction": 0.2},
    "encode": {"image_backbone": "test_byobnet", "text_vocabulary": 400, "text_width": 32, "text_heads": 2},
    "pretrain": {"dimension": 32, "heads": 2, "epochs": 20, "least_steps": 0, "batch_size": 64, "cluster_leaf": 8},
    "index": {},
    "mine": {"shortlist": 30},
    "finetune": {"epochs": 10, "least_steps": 0, "batch_size": 64, "positives": 2, "negatives": 8},
    "predict": {"shortlist": 40, "top_k": 30, "neighbours": 20},
    "evaluate": {"gallery": 6},
    "release": {"tolerance": 0.05, "bucket_tolerance": 0.1, "milliseconds": 2000, "keep": 4},
}
"""Tolerances for a test set of eighty items, times for two busy cores."""


class Site:
    """A copy of the project with one small dataset, under a folder of its own.

    Args:
        folder: empty.
        retrain: cron expression of the schedule.
        hook: URL that is told of failures.
    """

    def __init__(self, folder: Path, retrain: str, hook: str) -> None:
        self.folder, self.root = folder, folder / "project"
        self.drops, self.logs = folder / "drops", folder / "logs"
        self.workspace = Workspace(self.root)
        self.ports = {name: _free_port() for name in ("ray", "web", "serve")}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.workers = 0
        for made in (self.root, self.drops, self.logs, folder / "work"):
            made.mkdir(parents=True)
        _copy(self.root)
        self._settings(retrain)
        for command in (
            ["git", "init", "-q"],
            ["git", "config", "user.name", "soak"],
            ["git", "config", "user.email", "soak@localhost"],
            ["git", "add", "-A"],
            ["git", "commit", "-q", "-m", "The project"],
        ):
            subprocess.run(command, cwd=self.root, check=True)
        own = {"PYTHONPATH": str(self.root), MARK: str(folder), "MUFIN_WEBHOOK_URL": hook}
        os.environ["MUFIN_ROOT"] = str(self.root)
        # As many everywhere, for the last rebuild of a version too: sums over threads differ in their last bits.
        os.environ["OMP_NUM_THREADS"] = "1"
        os.environ.pop("DAGSTER_HOME", None)
        patient = {"RAY_raylet_start_wait_time_s": "180"}  # two busy cores
        self.env = {**home.prepare(self.workspace), **own, **patient, "NO_PROXY": "127.0.0.1"}

    @property
    def scratch(self) -> Path:
        """The present worker's disk, by which its processes are known."""
        return self.folder / f"worker{self.workers}"

    def mufin(self, *arguments: str, **kwargs: Any) -> subprocess.Popen[bytes]:
        """Start a command of the project, its output in a log of its own."""
        return self._start(arguments[0], [_program("mufin"), *arguments], **kwargs)

    def up(self) -> None:
        """Start everything but the model's server, which needs a release."""
        small = ["--include-dashboard=false", "--object-store-memory=100000000", "--disable-usage-stats", "--block"]
        head = ["start", "--head", f"--port={self.ports['ray']}", "--node-ip-address=127.0.0.1"]
        self._keep("head", [_program("ray"), *head, "--num-cpus=0", "--num-gpus=0", *small])
        self.worker()
        self.daemon()
        web = ["dagster-webserver", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(self.ports["web"])]
        self._keep("web", [_program(web[0]), *web[1:]])

    def daemon(self) -> None:
        self._keep("daemon", [_program("dagster-daemon"), "run", "-w", "workspace.yaml"])

    def worker(self) -> None:
        """A new node of the cluster, with a declared GPU and a disk of its own."""
        self.workers += 1
        self.scratch.mkdir()
        declared = ["--num-cpus=2", "--num-gpus=1", "--memory=8000000000", "--object-store-memory=100000000"]
        address = [f"--address=127.0.0.1:{self.ports['ray']}", "--node-ip-address=127.0.0.1"]
        command = [_program("ray"), "start", *address, *declared, "--disable-usage-stats", "--block"]
        self._keep("worker", command, {"MUFIN_SCRATCH": str(self.scratch)})

    def serve(self) -> None:
        """The model's server, once there is a release."""
        command = [_program("mufin"), "serve", "-d", DATASET, "--port", str(self.ports["serve"])]
        self._keep("serve", command)

    def mend(self) -> list[str]:
        """Start anew what has ended, as a supervisor would; its names."""
        again = {"worker": self.worker, "daemon": self.daemon, "serve": self.serve}
        ended = [name for name, process in self.running.items() if process.poll() is not None]
        for name in ended:
            if name not in again:
                raise RuntimeError(f"{name} ended by itself: {self.logs / name}.log")
            again[name]()
        return ended

    def processes(self, **environment: str) -> Iterator[psutil.Process]:
        """Processes of this soak, those whose environment has these values too."""
        for process in psutil.process_iter():
            try:
                env = process.environ()
                if env.get(MARK) == str(self.folder) and environment.items() <= env.items():
                    yield process
            except psutil.Error:
                continue

    def stop(self, name: str) -> None:
        """End one process and its group in good order."""
        process = self.running.pop(name)
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(30)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue

    def end(self) -> None:
        """End all that is left."""
        for process in self.processes():
            process.kill()

    def _keep(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.running[name] = self._start(name, command, env)

    def _start(
        self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with (self.logs / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.root,
                env={**self.env, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _settings(self, retrain: str) -> None:
        told = yaml.safe_load((self.root / "params.yaml").read_text())
        told |= {"datasets": [], "per_dataset": {}}
        for stage, settings in TINY.items():
            told[stage] |= settings
        told["automation"] |= {
            "enabled": True,
            "retrain": retrain,
            "drop_folder": str(self.drops),
            "drop_quiet": 10,
            "commit": True,
            "retries": 4,
            "retry_delay": 2,
            "notify": ["log", "webhook"],
        }
        told["execution"] |= {
            "target": "ray",
            "ray": f"127.0.0.1:{self.ports['ray']}",
            "work": f"file://{self.folder / 'work'}",
            "checkpoint": 1,
            "wait": 300,
        }
        (self.root / "params.yaml").write_text(yaml.safe_dump(told, sort_keys=False))
        config = self.root / "dagster.yaml"
        config.write_text(config.read_text().replace("poll_interval_seconds: 30", "poll_interval_seconds: 5"))


def _copy(root: Path) -> None:
    """What git tracks here, without the data."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True)
    for name in listed.stdout.decode().split("\0"):
        file = REPOSITORY / name
        if name and not name.startswith("data/") and name != "dvc.lock" and file.is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, root / name)


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
