"""Dagster's storage: SQLite by itself, Postgres by one variable of the environment; secrets stay there."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from mufin_dagster import instance
from mufin_model.errors import SettingError

from .conftest import REPOSITORY, Project


def programs() -> Path | None:
    """The folder of Postgres' own programs: Debian keeps them off PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    on_path = shutil.which("initdb")
    candidates = [*found, *([Path(on_path)] if on_path else [])]
    return candidates[0].parent if candidates else None


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Postgres server started for this test."""
    folder = programs()
    if folder is None:
        pytest.skip("no Postgres here: apt-get install postgresql")
    as_root = os.getuid() == 0
    try:
        account = pwd.getpwnam("postgres" if as_root else pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        pytest.skip("Postgres refuses root, and there is no user postgres")
    home = Path("/tmp") / f"mufin-postgres-{os.getpid()}"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    os.chown(home, account.pw_uid, account.pw_gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"user": account.pw_uid, "group": account.pw_gid} if as_root else {}
    (home / "password").write_text("s3cret")
    os.chown(home / "password", account.pw_uid, account.pw_gid)
    subprocess.run(
        [folder / "initdb", "-D", home / "db", "-U", "mufin", "-A", "scram-sha-256", "--pwfile", home / "password"],
        check=True,
        capture_output=True,
        cwd="/",
        **own,
    )
    command = [folder / "postgres", "-D", home / "db", "-p", str(port), "-k", home, "-h", "127.0.0.1", "-F"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **own)
    ready = [folder / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
    for _ in range(100):
        if subprocess.run(ready, capture_output=True).returncode == 0:
            break
        time.sleep(0.2)
    yield f"postgresql://mufin:s3cret@127.0.0.1:{port}/postgres"
    server.terminate()
    server.wait(20)
    shutil.rmtree(home, ignore_errors=True)


def run(project: Project, *code: str, **env: str) -> str:
    """A container's start: DAGSTER_HOME is prepared, and the process becomes the command."""
    done = subprocess.run(
        [sys.executable, "-m", "mufin_dagster.instance", sys.executable, "-c", "\n".join(code)],
        cwd=project.root,
        env={**os.environ, "MUFIN_ROOT": str(project.root), **env},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


RUN = """
import dagster as dg
@dg.asset
def made(): ...
with dg.DagsterInstance.get() as instance:
    assert dg.materialize([made], instance=instance).success
    print(instance.get_runs_count(), instance.get_latest_materialization_event(dg.AssetKey("made")) is not None)
"""


STATUS = """
import os, subprocess, sys
del os.environ["DAGSTER_HOME"]
subprocess.run([sys.executable, "-m", "mufin_dagster.cli", "status", "--json"])
"""


@pytest.fixture
def ready(project: Project) -> Project:
    shutil.copy(REPOSITORY / "dagster.yaml", project.root / "dagster.yaml")
    return project


def test_sqlite_by_default(ready: Project) -> None:
    assert run(ready, RUN).split()[-2:] == ["1", "True"]
    assert list((ready.root / ".dagster_home").rglob("*.db"))


def test_postgres_by_one_variable(ready: Project, postgres: str) -> None:
    assert run(ready, RUN, MUFIN_POSTGRES_URL=postgres).split()[-2:] == ["1", "True"]
    home = ready.root / ".dagster_home"
    assert not list(home.rglob("*.db"))
    told = (home / "dagster.yaml").read_text()
    assert "s3cret" not in told
    assert yaml.safe_load(told)["storage"] == {"postgres": {"postgres_url": {"env": instance.POSTGRES}}}
    # another process finds what the first one left
    count = "import dagster as dg; print(dg.DagsterInstance.get().get_runs_count())"
    assert run(ready, count, MUFIN_POSTGRES_URL=postgres).split()[-1] == "1"
    # as does one whose DAGSTER_HOME was written by others, a config map for one
    assert run(ready, count, MUFIN_POSTGRES_URL=postgres, DAGSTER_HOME=str(home)).split()[-1] == "1"
    # and the commands: what they find is what they made there
    told = run(ready, STATUS, MUFIN_POSTGRES_URL=postgres)
    assert [one["status"] for one in json.loads(told[told.index("{") :])["runs"]] == ["SUCCESS"]
    # and without the variable it is SQLite again
    instance.write(ready.workspace, home, {})
    with dg.DagsterInstance.from_config(str(home)) as made:
        assert made.get_runs_count() == 0


def test_another_url_is_a_users_mistake() -> None:
    with pytest.raises(SettingError, match="'mysql' is no Postgres URL"):
        instance.with_driver({instance.POSTGRES: "mysql://here"})
