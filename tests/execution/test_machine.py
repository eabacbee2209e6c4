"""GPUs of this machine: one step each, given back however a step ends; commands that end with their step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from mufin_dagster import execution, instance, machine
from mufin_model.errors import SettingError

from .conftest import REPOSITORY, Project


def test_leases_never_overlap_and_end_with_their_process(tmp_path: Path) -> None:
    have = ["0", "1"]
    with machine.lease(have, 1, tmp_path) as one, machine.lease(have, 1, tmp_path) as other:
        assert sorted([*one, *other]) == have
        code = "import sys; from pathlib import Path; from mufin_dagster.machine import lease\n"
        code += f"with lease({have}, 3, Path({str(tmp_path)!r})) as all: print(*all)"
        waits = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            waits.wait(3)
    assert waits.communicate(timeout=20)[0].split() == have  # as many as there are
    with machine.lease([], 1, tmp_path) as none:
        assert none == []


def test_a_step_is_told_its_gpus(project: Project) -> None:
    project.set(gpus=2)
    lines: list[str] = []
    for noun, expected in (("letters", 0), ("pairs", 2)):
        ended = execution.run(project.workspace, project.stage(noun), {}, project.workspace.params, lines.append)
        assert ended.code == 0, ended.tail
        text = (project.workspace.path("one", noun) / "epochs.json").read_text()
        assert (f'"0,1", "{expected}"' if expected else '"1"') in text
    assert "on GPU 0, 1 of 2" in lines


def test_the_pool_is_as_wide_as_there_are_gpus(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.root / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text())
    home = project.root / "home"
    for gpus, width in ((3, 3), (0, 1), (2, 2)):
        project.set(gpus=gpus)
        instance.write(project.workspace, home, {})
        with dg.DagsterInstance.from_config(str(home)) as made:
            made.event_log_storage.initialize_concurrency_limit_to_default("gpu")
            assert made.event_log_storage.get_concurrency_info("gpu").slot_count == width


def test_a_command_does_not_outlive_its_killed_step(tmp_path: Path) -> None:
    code = f"""
import os, sys
from pathlib import Path
from mufin_dagster import process
process.run("echo $$; sleep 100", cwd=Path({str(tmp_path)!r}), env=os.environ, forward=lambda t: print(t, flush=True))
"""
    step = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert step.stdout is not None
    command = int(step.stdout.readline())
    os.kill(step.pid, signal.SIGKILL)
    step.wait()
    for _ in range(100):
        state = subprocess.run(["ps", "-o", "stat=", "-g", str(command)], capture_output=True, text=True).stdout
        if not [line for line in state.split() if not line.startswith("Z")]:
            return
        time.sleep(0.1)
    os.killpg(command, signal.SIGKILL)
    pytest.fail("the command went on")


def test_the_environment_wins_over_the_setting(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.set(target="ray")
    assert execution.execution(project.workspace.params).target == "ray"
    monkeypatch.setenv(execution.TARGET, "machine")
    assert execution.execution(project.workspace.params).target == "machine"
    monkeypatch.setenv(execution.TARGET, "abacus")
    with pytest.raises(SettingError, match="abacus"):
        execution.execution(project.workspace.params)
