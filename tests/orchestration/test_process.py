"""A stage's command as a child process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mufin_dagster import process


def run(tmp_path: Path, code: str) -> tuple[process.Ended, list[str]]:
    messages: list[str] = []
    ended = process.run(f"{sys.executable} -u -c '{code}'", cwd=tmp_path, env=dict(os.environ), forward=messages.append)
    return ended, messages


def test_a_burst_is_few_messages_and_no_line_is_lost(tmp_path):
    ended, messages = run(tmp_path, "for i in range(20000): print(i)")
    assert ended.code == 0
    assert "\n".join(messages).split("\n") == [str(i) for i in range(20000)]
    assert len(messages) < 20


def test_lines_arrive_while_the_command_runs(tmp_path):
    answer, came = tmp_path / "answer", []
    code = (
        "import pathlib, sys, time; print(1); answer = pathlib.Path(sys.argv[1]);"
        "[time.sleep(0.01) for _ in range(6000) if not answer.exists()]; print(2 if answer.exists() else str())"
    )

    def forward(line: str) -> None:
        came.append(line)
        answer.touch()

    command = f"{sys.executable} -u -c '{code}' {answer}"
    process.run(command, cwd=tmp_path, env=dict(os.environ), forward=forward)
    assert came == ["1", "2"]


def test_only_exit_code_2_is_a_users_mistake(tmp_path):
    text = 'import sys; print("before\\nDataError: what\\n  where: here"); sys.exit(%d)'
    assert run(tmp_path, text % 2)[0].error == "DataError: what\n  where: here"
    ended = run(tmp_path, text % 1)[0]
    assert ended.error is None
    assert ended.tail == "before\nDataError: what\n  where: here"


def test_an_interruption_ends_children_that_ignore_sigterm(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.5)
    code = (
        "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        'child = subprocess.Popen(["sleep", "100"]); print(child.pid); child.wait()'
    )
    pids: list[int] = []

    def forward(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.run(f"{sys.executable} -u -c '{code}'", cwd=tmp_path, env=dict(os.environ), forward=forward)
    assert gone(pids[0])


def gone(pid: int) -> bool:
    """Ended, or ended and not yet collected by its new parent."""
    for _ in range(50):
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
        if not state or state.startswith("Z"):
            return True
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    return False
