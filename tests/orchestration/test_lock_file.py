"""dvc.lock read while DVC writes it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import yaml

from mufin_dagster import pipeline, versioning
from mufin_model.errors import DiskError

from .conftest import Project


def test_a_lock_that_is_being_written_is_waited_for(project: Project):
    lock = project.root / "dvc.lock"
    whole = lock.read_bytes()
    stages = project.stages
    before = pipeline.read_lock(project.root, stages)
    half = whole[: whole.index(b"\n  ", len(whole) // 2) + 1]
    stop = threading.Event()

    def write() -> None:
        """As DVC does: emptied, then in pieces."""
        while not stop.is_set():
            with lock.open("wb") as file:
                time.sleep(0.02)
                file.write(half)
                file.flush()
                time.sleep(0.02)
                file.write(whole[len(half) :])
            stop.wait(0.5)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            assert pipeline.read_lock(project.root, stages) == before
    finally:
        stop.set()
        writer.join()


def test_a_commit_that_fails_takes_back_its_own_entry_alone(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = project.root / "dvc.lock"
    before = yaml.safe_load(lock.read_text())

    def fails(root: Path, *_: str) -> str:
        """As DVC does where the cache is full, while another process records its own."""
        now = yaml.safe_load(lock.read_text())
        now["stages"]["letters@one"]["cmd"] = "what never got into the cache"
        now["stages"]["letters@two"] = now["stages"]["words@one"]
        lock.write_text(yaml.safe_dump(now, sort_keys=False))
        raise DiskError("no room")

    monkeypatch.setattr(versioning, "dvc", fails)
    with pytest.raises(DiskError):
        versioning.commit(project.root, "letters@one", lock)
    now = yaml.safe_load(lock.read_text())["stages"]
    assert now.pop("letters@two") == before["stages"]["words@one"]
    assert now == before["stages"]


def test_what_dvc_yaml_declares_needs_no_lock(project: Project) -> None:
    before = pipeline.load(project.root), pipeline.inputs(project.root, "words@one")
    (project.root / "dvc.lock").write_text("schema: '2.0'\nstages:\n  letters@one:\n    cmd: half of a co")
    assert (pipeline.load(project.root), pipeline.inputs(project.root, "words@one")) == before
