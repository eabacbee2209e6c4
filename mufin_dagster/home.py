"""Dagster's own folder, `.dagster_home/` in the project: its runs and events, and dagster.yaml written there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mufin_dagster import instance
from mufin_dagster.versioning import environment, exclusive
from mufin_model.artefacts import Workspace

LAUNCH = "mufin/launch"
"""A run's tag, by which the command that launched it finds it."""

SCHEDULES = "schedules/schedules.db"
"""The last file that Dagster makes of its own in DAGSTER_HOME."""


def prepare(workspace: Workspace) -> dict[str, str]:
    """Make the folder and return the environment that uses it; a DAGSTER_HOME that is set is left as it is."""
    env = environment(workspace.root)
    instance.with_driver(env)
    if "DAGSTER_HOME" not in os.environ:
        home = workspace.root / ".dagster_home"
        with exclusive(workspace.root, "home"):
            instance.write(workspace, home, env)
            if not env.get(instance.POSTGRES) and not (home / SCHEDULES).is_file():
                _make_tables(home)
        env["DAGSTER_HOME"] = str(home)
    Path(env["DAGSTER_HOME"]).mkdir(parents=True, exist_ok=True)
    return env


def enter(workspace: Workspace) -> dict[str, str]:
    """As `prepare`, for this process as well."""
    env = prepare(workspace)
    os.environ |= {name: env[name] for name in ("DAGSTER_HOME", instance.POSTGRES) if name in env}
    return env


def _make_tables(home: Path) -> None:
    """SQLite's, once and alone: two processes of Dagster that make them at the same time leave them unusable."""
    from dagster import DagsterInstance

    with DagsterInstance.from_config(str(home)):
        pass


def serve(workspace: Workspace, host: str, port: int) -> int:
    """Run the web interface and the daemon until Ctrl-C."""
    env = prepare(workspace)
    command = [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-h", host, "-p", str(port)]
    # the supersession warning is about `dg dev`, which would give the code location another name and lose its state
    env["PYTHONWARNINGS"] = "ignore"
    os.chdir(workspace.root)
    if os.name == "posix":
        os.execvpe(command[0], command, env)
    return subprocess.run(command, env=env).returncode
