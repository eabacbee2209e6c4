"""dvc.lock read while DVC writes it."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import pytest
import yaml

from mufin_dagster import pipeline, pointers, stale, versioning
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


def test_a_lock_cut_short_by_a_kill_is_repaired(project: Project) -> None:
    lock = project.root / "dvc.lock"
    whole = yaml.safe_load(lock.read_text())
    assert stale.reasons(project.root, [project.stage("book@one")]) == {}
    text = lock.read_text()
    for cut in (0, text.index("  words@one"), text.index("    outs:", text.index("  report@one")), len(text) - 30):
        lock.write_text(text[:cut])
        assert stale.reasons(project.root, [s for s in project.stages if s.dataset == "one"]) == {}
        assert yaml.safe_load(lock.read_text()) == whole
        assert "dvc.lock was cut short" in pointers.repaired(project.root)


def test_what_was_recorded_before_the_cut_stays(project: Project) -> None:
    lock = project.root / "dvc.lock"
    pointers.settle(project.root)
    now = yaml.safe_load(lock.read_text())
    first, *others = list(now["stages"])
    now["stages"][first]["cmd"] = "a new command"
    lock.write_text(
        yaml.safe_dump(
            {"schema": now["schema"], "stages": {n: now["stages"][n] for n in [first, others[0]]}}, sort_keys=False
        )
    )
    pointers.settle(project.root)
    assert yaml.safe_load(lock.read_text()) == now


def test_a_shorter_lock_that_git_holds_is_a_version(project: Project) -> None:
    lock = project.root / "dvc.lock"
    pointers.settle(project.root)
    text = lock.read_text()
    short = text[: text.index("  words@one")]
    lock.write_text(short)
    for told in (["add", "dvc.lock"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "old"]):
        subprocess.run(["git", *told], cwd=project.root, check=True)
    pointers.settle(project.root)
    assert lock.read_text() == short


def test_a_pointer_cut_short_is_repaired(project: Project) -> None:
    pointer = project.root / "data" / "one" / "catalog.dvc"
    text = pointer.read_text()
    pointers.settle(project.root)
    for cut in (0, len("outs:\n"), len("outs:\n- md")):
        pointer.write_text(text[:cut])
        assert "letters@one" not in stale.reasons(project.root, [project.stage("letters@one")])
        assert yaml.safe_load(pointer.read_text()) == yaml.safe_load(text)
