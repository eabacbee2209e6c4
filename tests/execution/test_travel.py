"""Artefacts by the hash of their content: on a folder and on S3, whole or refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mufin_dagster import travel
from mufin_dagster.travel import Store
from mufin_model.errors import ArtefactError, SettingError

FILES = {"a.npy": b"one", "images/0001": b"two", "images/0002": b"one", "empty": b""}


def written(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.getfixturevalue("s3") if request.param == "s3" else f"file://{tmp_path / 'store'}"


def objects(store: Store) -> list[str]:
    return sorted(store._fs.find(f"{store._root}/objects"))


def test_what_is_pushed_is_fetched_and_nothing_is_sent_twice(url: str, tmp_path: Path) -> None:
    sender, receiver = Store(url), Store(url, tmp_path / "cache")
    digest = sender.push(written(tmp_path / "here"))
    assert sender.push(tmp_path / "here") == digest
    assert len(objects(sender)) == 4  # three contents and the listing
    target = written(tmp_path / "there", {"old": b"gone after it", "a.npy": b"one"})
    receiver.fetch(digest, target)
    assert read(target) == FILES
    inode = target.stat().st_ino
    receiver.fetch(digest, target)
    assert target.stat().st_ino == inode  # nothing differs, nothing is touched
    (target / "a.npy").unlink()
    (target / "a.npy").write_bytes(b"damaged")
    receiver.fetch(digest, target)
    assert read(target) == FILES
    assert {path.name for path in tmp_path.iterdir()} <= {"here", "there", "cache", "store"}

    single = sender.push(tmp_path / "here" / "a.npy")
    receiver.fetch(single, tmp_path / "there" / "a.npy")
    assert (tmp_path / "there" / "a.npy").read_bytes() == b"one"


def test_what_arrives_otherwise_than_sent_is_refused(url: str, tmp_path: Path) -> None:
    store = Store(url)
    digest = store.push(written(tmp_path / "here"))
    target = written(tmp_path / "there", {"old": b"stays"})
    damaged = store._object(travel.digest_of(tmp_path / "here" / "images" / "0001"))
    store._fs.pipe_file(damaged, b"tw0")
    with pytest.raises(ArtefactError, match="not what its name says"):
        store.fetch(digest, target)
    store._fs.rm_file(damaged)
    with pytest.raises(ArtefactError, match="not there"):
        store.fetch(digest, target)
    assert read(target) == {"old": b"stays"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    store.push(tmp_path / "here")  # what is missing is sent anew
    store.fetch(digest, target)
    assert read(target) == FILES


def test_a_name_moves_and_what_it_left_is_removed(url: str, tmp_path: Path) -> None:
    store = Store(url)
    assert store.named("last") is None
    first = store.push(written(tmp_path / "first", {"checkpoint.pt": b"1", "same": b"s"}))
    store.name("last", first)
    second = store.push(written(tmp_path / "second", {"checkpoint.pt": b"2", "same": b"s"}))
    store.name("last", second)
    store.keep(second)
    assert store.named("last") == second
    store.fetch(second, tmp_path / "there")
    with pytest.raises(ArtefactError):
        store.fetch(first, tmp_path / "there")
    store.clear()
    assert store.named("last") is None


def test_a_cache_keeps_what_was_used_last(tmp_path: Path) -> None:
    for age, name in enumerate(["aa/new", "bb/old", "cc/older"]):
        file = tmp_path / name
        file.parent.mkdir()
        file.write_bytes(b"x" * 1000)
        os.utime(file, (1e9 - age, 1e9 - age))
    travel.prune(tmp_path, 2000 / 1e9)
    assert sorted(file.name for file in tmp_path.glob("*/*")) == ["new", "old"]


def test_an_unknown_protocol_is_a_users_mistake() -> None:
    with pytest.raises(SettingError, match="nosuch"):
        Store("nosuch://bucket")
