"""Dagster's own storage: dagster.yaml of the project, completed by what the environment and the target ask for.

    MUFIN_POSTGRES_URL   set: runs, events and schedules in that Postgres; not set: SQLite in DAGSTER_HOME

The file that is written holds the variable's name and never its value.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mufin_model.artefacts import Workspace, write_text
from mufin_model.config import read
from mufin_model.errors import MufinError, SettingError

POSTGRES = "MUFIN_POSTGRES_URL"
HEADER = "# Written from the project's dagster.yaml and the environment; edit that one.\n"
DRIVER = "postgresql+psycopg2://"
"""SQLAlchemy takes `postgresql://` for another driver than the one that dagster-postgres brings."""


def configuration(workspace: Workspace, environment: Mapping[str, str]) -> dict[str, Any]:
    """What DAGSTER_HOME/dagster.yaml is to hold.

    Args:
        workspace: the project.
        environment: of what will read it.
    """
    from mufin_dagster import machine

    document = dict(read(workspace.root / "dagster.yaml"))
    gpus = machine.gpus((read(workspace.params).get("execution") or {}).get("gpus", "auto"))
    concurrency = document["concurrency"]
    document["concurrency"] = {**concurrency, "pools": {**concurrency["pools"], "default_limit": max(1, len(gpus))}}
    if environment.get(POSTGRES):
        document["storage"] = {"postgres": {"postgres_url": {"env": POSTGRES}}}
    return document


def write(workspace: Workspace, home: Path, environment: Mapping[str, str]) -> None:
    """Write dagster.yaml to DAGSTER_HOME, where it is not so already."""
    home.mkdir(parents=True, exist_ok=True)
    told = HEADER + yaml.safe_dump(configuration(workspace, environment), sort_keys=False)
    target = home / "dagster.yaml"
    if not target.is_file() or target.read_text() != told:
        write_text(target, told)


def with_driver(environment: MutableMapping[str, str]) -> None:
    """Name the driver that is installed in the environment's Postgres URL, if it has one.

    Raises:
        SettingError: it is no Postgres URL, or dagster-postgres is not installed.
    """
    if url := environment.get(POSTGRES):
        environment[POSTGRES] = _with_driver(url)


def _with_driver(url: str) -> str:
    scheme, found, rest = url.partition("://")
    if not found or scheme not in ("postgres", "postgresql", "postgresql+psycopg2"):
        raise SettingError(
            f"{scheme!r} is no Postgres URL", where=POSTGRES, mend="postgresql://USER:PASSWORD@HOST/NAME"
        )
    if importlib.util.find_spec("dagster_postgres") is None:
        raise SettingError(f"{POSTGRES} needs dagster-postgres", where=POSTGRES, mend="pip install 'mufin[postgres]'")
    return DRIVER + rest


def main(command: Sequence[str]) -> None:
    """Prepare DAGSTER_HOME and become the command: how containers start.

    python -m mufin_dagster.instance dagster-daemon run
    """
    from mufin_dagster import home

    try:
        env = home.prepare(Workspace.find())
    except MufinError as error:
        sys.exit(str(error))
    os.execvpe(command[0], list(command), env)


if __name__ == "__main__":
    main(sys.argv[1:])
