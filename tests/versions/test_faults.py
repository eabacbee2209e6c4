"""Kills, full disks, damaged files, two processes: the last good version stays, and the error says what to do."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mufin_dagster import datasets, versioning
from mufin_dagster.data_objects import CacheError, ensure, objects
from mufin_dagster.data_restore import restore
from mufin_model import config
from mufin_model.artefacts import Workspace
from mufin_model.catalog import ingest
from mufin_model.catalog.catalog import Catalog
from mufin_model.errors import DatasetError, DiskError

from .conftest import ITEMS, Shop


def run_ingest(shop: Shop) -> None:
    ingest.run(shop.workspace, "shop", config.load(shop.workspace.params, "shop"))


def leftovers(shop: Shop) -> list[str]:
    return [path.name for path in shop.workspace.dataset("shop").glob(".*.*")]


def test_a_killed_ingest_leaves_the_earlier_artefact_and_the_next_run_tidies_up(shop: Shop) -> None:
    before = shop.artefact()
    # an image that is a pipe nobody writes would be refused; a slow reader stands for a large catalogue
    slow = (
        "import time; from mufin_model.catalog import images; real = images.thumbnail;"
        "images.thumbnail = lambda *a: (time.sleep(0.5), real(*a))[1];"
        "from mufin_dagster.cli import app; app()"
    )
    command = [*shop.command()[:1], "-c", slow, "ingest", "--dataset", "shop"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **shop.process())
    deadline = time.monotonic() + 60
    while not leftovers(shop):
        assert time.monotonic() < deadline
        assert child.poll() is None, child.communicate()[0]
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert leftovers(shop)
    assert shop.artefact() == before
    assert len(Catalog.load(shop.workspace.read("shop", "raw_descriptors")).images) == ITEMS
    assert shop.mufin("ingest", "--dataset", "shop").returncode == 0
    assert not leftovers(shop)
    assert shop.artefact() == before


def test_an_add_that_was_killed_is_told_and_can_be_done_again(shop: Shop) -> None:
    shop.workspace.catalog("late").mkdir(parents=True)
    with pytest.raises(DatasetError, match="was killed") as told:
        datasets.add(shop.workspace, "late", shop.draw())
    assert "--replace" in told.value.mend
    datasets.add(shop.workspace, "late", shop.given, replace=True)
    assert "late" in config.read(shop.workspace.params)["datasets"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("only root may mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_and_ingest(shop: Shop) -> None:
    """Until there is no room, a page at a time."""
    for number in range(16):
        (shop.root / f"filling{number}").write_bytes(bytes(4096))
        run_ingest(shop)


def test_a_full_disk(shop: Shop, small_disk: Path) -> None:
    """The artefact's folder on a disk too small for a second version of it."""
    catalog = shop.workspace.catalog("shop")
    (small_disk / "params.yaml").symlink_to(shop.workspace.params)
    (small_disk / "data" / "shop").mkdir(parents=True)
    (small_disk / "data" / "shop" / "catalog").symlink_to(catalog)
    full = Shop(small_disk)
    run_ingest(full)
    before = full.artefact()
    with pytest.raises(DiskError, match="the earlier one is untouched") as told:
        fill_and_ingest(full)
    assert "free space" in told.value.mend
    assert full.artefact() == before
    assert not leftovers(full)


@pytest.mark.parametrize("limit", [700, 3000])
def test_a_limit_on_the_size_of_files(shop: Shop, limit: int) -> None:
    """As a quota: the table or the chunk that passes it, written by Polars or Arrow, fails."""
    before = shop.artefact()
    held = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, held[1]))
    try:
        with pytest.raises(DiskError, match="no room to write raw_descriptors"):
            run_ingest(shop)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, held)
    assert shop.artefact() == before
    assert not leftovers(shop)


def test_no_room_for_a_catalogue_or_for_the_cache(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    before, pointer = shop.artefact("catalog"), (shop.workspace.dataset("shop") / "catalog.dvc").read_text()
    given = shop.draw(ITEMS + 5)
    held = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, held[1]))
    try:
        with pytest.raises(DiskError, match="no room to write catalog"):
            datasets.add(shop.workspace, "shop", given, replace=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, held)

    def no_room(*_: object) -> None:
        raise DiskError("no room for what dvc commit writes")

    monkeypatch.setattr(versioning, "record_catalog", no_room)
    with pytest.raises(DiskError, match="dvc commit"):
        datasets.add(shop.workspace, "shop", given, replace=True)
    assert shop.artefact("catalog") == before
    assert (shop.workspace.dataset("shop") / "catalog.dvc").read_text() == pointer
    assert not leftovers(shop)


def test_dvc_on_a_full_disk(shop: Shop, small_disk: Path) -> None:
    shop.dvc("cache", "dir", "--local", str(small_disk))
    (shop.workspace.catalog("shop") / "large").write_bytes(os.urandom(200_000))
    pointer = (shop.workspace.dataset("shop") / "catalog.dvc").read_text()
    with pytest.raises(DiskError, match="untouched") as told:
        versioning.record_catalog(shop.workspace, "shop")
    assert "dvc gc" in told.value.mend
    assert (shop.workspace.dataset("shop") / "catalog.dvc").read_text() == pointer


def damage(path: Path) -> None:
    mode = path.stat().st_mode
    path.chmod(0o644)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    path.chmod(mode)


def test_a_damaged_cache_file_is_told_and_mended_from_the_remote(grown: Shop, template: Path) -> None:
    before, present = Shop(template / "project").artefact(), grown.artefact()
    first, now = grown.git("rev-parse", "HEAD~1", "HEAD").split()
    grown.dvc("push", "-q", "--all-commits")
    path = "data/shop/raw_descriptors/items.parquet"
    damage(objects(grown.workspace, first).held(path))
    with pytest.raises(CacheError, match="1 files of DVC's cache are damaged") as told:
        restore(grown.workspace, first)
    assert told.value.rows[0].startswith(path)
    assert grown.artefact() == present
    assert not grown.git("status", "--porcelain")
    ensure(grown.workspace, now)  # the present version is sound
    assert grown.mufin("data", "verify", first).returncode == 2
    mended = grown.mufin("data", "verify", first, "--mend")
    assert mended.returncode == 0, mended.stderr
    restore(grown.workspace, first)
    assert grown.artefact() == before


def test_what_is_neither_in_the_cache_nor_in_the_remote(shop: Shop) -> None:
    found = objects(shop.workspace, None)
    found.at(found.folders["data/shop/raw_descriptors"]).unlink()
    with pytest.raises(CacheError, match="neither in DVC's cache nor sound in its remote") as told:
        ensure(shop.workspace, None, ["data/shop/raw_descriptors/items.parquet"])
    assert "dvc push" in told.value.mend


def test_two_ingests_at_once(shop: Shop) -> None:
    before = shop.artefact()
    shutil.rmtree(shop.workspace.path("shop", "raw_descriptors"))
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: shop.mufin("ingest", "--dataset", "shop"), range(2)))
    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    assert any("waiting" in one.stdout for one in done)
    assert shop.artefact() == before
    assert not leftovers(shop)
    assert not shop.git("status", "--porcelain")


def test_two_writers_of_an_artefact_that_is_not_there_yet(tmp_path: Path) -> None:
    """The library alone, without the lock: the later one wins, neither fails."""
    workspace = Workspace(tmp_path)
    child = os.fork()
    with workspace.write("shop", "noun") as folder:
        (folder / "file").write_text("whole")
        time.sleep(0.3)
        if child == 0:
            time.sleep(0.3)
    if child == 0:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (tmp_path / "data" / "shop" / "noun" / "file").read_text() == "whole"
    assert [path.name for path in (tmp_path / "data" / "shop").iterdir()] == ["noun"]


def test_two_adds_of_one_name_at_once(shop: Shop) -> None:
    given = shop.draw()
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: shop.mufin("add", "twin", str(given)), range(2)))
    assert sorted(one.returncode for one in done) == [0, 2]
    (refused,) = [one for one in done if one.returncode]
    assert "there is a dataset 'twin' already" in refused.stderr
    assert config.read(shop.workspace.params)["datasets"].count("twin") == 1
    assert (shop.workspace.catalog("twin") / "images.parquet").is_dir()
    assert (shop.workspace.dataset("twin") / "catalog.dvc").is_file()
