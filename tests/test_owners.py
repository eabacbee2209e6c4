"""Whose a temporary folder is: of a living process, of a dead one, of another machine over a shared folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mufin_model import owners
from mufin_model.artefacts import Workspace, aside, write_text

ASIDE = """
import os, sys, time
from pathlib import Path
from mufin_model.artefacts import aside
with aside(Path(sys.argv[1]), "words") as folder:
    (folder / "half").touch()
    print(folder.name, flush=True)
    sys.stdin.read()
"""


def elsewhere(parent: Path, silent: float) -> Path:
    """A folder as a process of another machine has it, which touched it so many seconds ago."""
    folder = parent / ".words.0123456789-1-5-0"
    folder.mkdir()
    then = time.time() - silent
    os.utime(folder, (then, then))
    return folder


@pytest.mark.parametrize(("silent", "stays"), [(60, True), (20 * 3600, True), (2 * 86_400, False)])
def test_a_folder_of_another_machine_is_not_judged_by_process_numbers_of_this_one(
    tmp_path: Path, silent: float, stays: bool
) -> None:
    other = elsewhere(tmp_path, silent)
    with aside(tmp_path, "words"):
        assert other.is_dir() is stays


def test_a_folder_of_an_older_version_is_not_either(tmp_path: Path) -> None:
    (tmp_path / ".words.4194000").mkdir()  # above the highest process number
    with aside(tmp_path, "words"):
        assert (tmp_path / ".words.4194000").is_dir()


def test_a_killed_process_leaves_its_folder_to_the_next_and_a_living_one_keeps_it(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", ASIDE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    folder = tmp_path / child.stdout.readline().strip()
    with aside(tmp_path, "words"):
        assert (folder / "half").is_file()
    child.kill()
    child.wait()
    with aside(tmp_path, "words") as mine:
        assert [path.name for path in tmp_path.iterdir()] == [mine.name]
    child.communicate()


def test_a_process_number_that_came_again_is_another_process(tmp_path: Path) -> None:
    place, pid, start, _ = owners.token().split("-")
    (tmp_path / f".words.{place}-{pid}-{int(start) - 1}-0").mkdir()
    (tmp_path / f".words.{place}-{pid}-{start}-0").mkdir()  # this process, on another thread
    with aside(tmp_path, "words") as mine:
        names = {path.name for path in tmp_path.iterdir()}
    assert names == {mine.name, f".words.{place}-{pid}-{start}-0"}


def test_a_writer_shows_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "TOUCH_SECONDS", 0.01)
    with Workspace(tmp_path).write("one", "words") as folder:
        os.utime(folder, (0, 0))
        for _ in range(1000):
            if folder.stat().st_mtime:
                break
            time.sleep(0.01)
        assert folder.stat().st_mtime > 0


def test_a_text_that_cannot_be_written_leaves_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dvc.lock"
    write_text(path, "whole")

    def broken(_: int) -> None:
        raise OSError("the disk went")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="the disk went"):
        write_text(path, "another")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("dvc.lock", "whole")]
