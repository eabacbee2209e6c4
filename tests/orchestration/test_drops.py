"""The drop folder: taken when complete, put aside when broken."""

from __future__ import annotations

import json
import os
from pathlib import Path

import dagster as dg
import pytest

from mufin_dagster import datasets, drops, versioning
from mufin_dagster.run_tags import DATASET, JOB
from mufin_dagster.settings import Automation
from mufin_model.errors import CatalogError, DatasetError

from .conftest import Project
from .test_commands import catalogue

__all__ = ["catalogue"]  # a fixture

QUIET = 100


def write(folder: Path, name: str, text: str = "x", at: float = 0.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    os.utime(folder / name, (at, at))
    return folder / name


def taken(folder: Path, seen: dict[str, tuple[str, float]], now: float) -> list[str]:
    """Names that are complete; `seen` is carried on."""
    done, since = drops.complete(drops.drops(folder), dict(seen), now, QUIET)
    seen.clear()
    seen.update(since)
    return [drop.name for drop in done]


def test_a_drop_is_complete_when_nothing_has_changed_for_a_while(tmp_path: Path):
    seen: dict[str, tuple[str, float]] = {}
    write(tmp_path / "shop", "items.jsonl")
    assert taken(tmp_path, seen, 0) == []
    assert taken(tmp_path, seen, 90) == []
    write(tmp_path / "shop", "labels.jsonl", at=90)
    assert taken(tmp_path, seen, 110) == []
    assert taken(tmp_path, seen, 209) == []
    write(tmp_path / "shop", "labels.jsonl", "xx", at=90)  # it grew within the clock's tick
    assert taken(tmp_path, seen, 210) == []
    assert taken(tmp_path, seen, 310) == ["shop"]


def test_a_mark_is_believed_at_once(tmp_path: Path):
    write(tmp_path / "shop", "items.jsonl")
    write(tmp_path / "shop", drops.READY)
    assert taken(tmp_path, {}, 0) == ["shop"]


@pytest.mark.parametrize("name", ["items.jsonl.part", ".items.jsonl.Xa81hq", "items.jsonl.crdownload", "items~"])
def test_a_half_copied_file_is_waited_for_however_long(tmp_path: Path, name: str):
    seen: dict[str, tuple[str, float]] = {}
    write(tmp_path / "shop", "labels.jsonl")
    write(tmp_path / "shop", name)
    assert [taken(tmp_path, seen, now) for now in (0, 1000, 2000)] == [[], [], []]


def test_an_empty_folder_is_no_drop_yet(tmp_path: Path):
    seen: dict[str, tuple[str, float]] = {}
    (tmp_path / "shop").mkdir()
    (tmp_path / ".taking" / "other").mkdir(parents=True)
    assert [taken(tmp_path, seen, now) for now in (0, 1000)] == [[], []]


def test_a_drop_becomes_a_dataset_and_then_its_new_version(project: Project, catalogue: Path, tmp_path: Path):
    folder = tmp_path / "drops"
    catalogue.rename(tmp_path / "first")
    (tmp_path / "drops").mkdir()
    (tmp_path / "first").rename(folder / "shop")
    (folder / "shop" / drops.READY).touch()
    assert "a new dataset" in drops.take_in(project.workspace, folder, "shop")
    assert not (project.workspace.catalog("shop") / drops.READY).exists()
    before = (project.root / "data/shop/catalog.dvc").read_bytes()
    write(folder / "shop", "nothing.txt", "no catalogue")
    with pytest.raises(CatalogError) as told:
        drops.take_in(project.workspace, folder, "shop")
    # put aside with its reason; the earlier catalogue stays, and nothing is left to be tried again
    assert (folder / ".refused" / "shop" / "nothing.txt").read_text() == "no catalogue"
    assert (folder / ".refused" / "shop.txt").read_text() == f"{told.value}\n"
    assert (project.root / "data/shop/catalog.dvc").read_bytes() == before
    assert drops.drops(folder) == []
    assert drops.left(folder) == {}
    assert not versioning.status(project.root, "data/shop/catalog.dvc")


def test_a_name_that_is_none_is_put_aside(project: Project, tmp_path: Path):
    write(tmp_path / "No Name", "items.jsonl")
    with pytest.raises(DatasetError):
        drops.take_in(project.workspace, tmp_path, "No Name")
    assert (tmp_path / ".refused" / "No Name" / "items.jsonl").is_file()


def test_what_a_killed_run_had_taken_is_taken_up(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "add", killed)
    write(tmp_path / "one", "items.jsonl")
    with pytest.raises(KeyboardInterrupt):
        drops.take_in(project.workspace, tmp_path, "one")
    assert list(drops.left(tmp_path)) == ["one"]
    monkeypatch.setattr(datasets, "add", lambda *_, **__: None)
    assert drops.take_in(project.workspace, tmp_path, "one") == "a new version of its catalogue"
    assert drops.left(tmp_path) == {}
    # and of one that was killed when all was done, nothing is asked again
    assert drops.take_in(project.workspace, tmp_path, "one").startswith("nothing is there")


def test_the_sensor_asks_once_for_each_drop(project: Project, instance: dg.DagsterInstance, tmp_path: Path):
    folder = tmp_path / "drops"
    write(folder / "one", "text.txt")
    write(folder / "one", drops.READY)
    write(folder / "two", "text.txt.part")
    write(folder / ".taking" / "three", "text.txt")
    settings = Automation(drop_folder=str(folder), drop_quiet=QUIET)
    sensor = drops.sensor(project.workspace, settings, drops.job(project.workspace, settings))
    first = sensor.evaluate_tick(dg.build_sensor_context(instance=instance))
    assert {request.tags[DATASET] for request in first.run_requests} == {"one", "three"}
    again = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=first.cursor))
    keys = [request.run_key for request in first.run_requests]
    assert [request.run_key for request in again.run_requests] == keys  # Dagster runs a key once
    # while a run takes it, what it took is not asked for
    instance.create_run_for_job(
        drops.job(project.workspace, settings),
        run_config=first.run_requests[0].run_config,
        tags={JOB: drops.TAKE_IN, DATASET: "three"},
        status=dg.DagsterRunStatus.STARTED,
    )
    busy = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=first.cursor))
    assert [request.tags[DATASET] for request in busy.run_requests] == ["one"]
    assert set(json.loads(first.cursor)) == {"one", "two"}


def test_the_job_fails_at_once_on_a_broken_drop(project: Project, instance: dg.DagsterInstance, tmp_path: Path):
    write(tmp_path / "one", "text.txt")
    settings = Automation(drop_folder=str(tmp_path))
    done = drops.job(project.workspace, settings).execute_in_process(
        instance=instance,
        run_config={"ops": {"take_drop": {"config": {"name": "one"}}}},
        raise_on_error=False,
    )
    assert not done.success
    assert not [event for event in done.all_events if event.is_step_up_for_retry]
    assert (tmp_path / ".refused" / "one.txt").is_file()
