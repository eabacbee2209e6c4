"""Thumbnails in chunks cut by content."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from mufin_model.catalog.image_store import LEAST, MOST, ImageStore, ImageWriter
from mufin_model.errors import ArtefactError

from .conftest import picture


def write(folder: Path, files: list[bytes]) -> ImageStore:
    with ImageWriter(folder, 8) as store:
        assert [store.add(data) for data in files] == list(range(len(files)))
    return ImageStore(folder)


def drawn(count: int, seed: int) -> list[bytes]:
    return [bytes(row) for row in np.random.default_rng(seed).integers(0, 256, (count, 40), np.uint8)]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_each_row_is_found_in_its_chunk(tmp_path: Path) -> None:
    files = drawn(1000, 0)
    store = write(tmp_path / "images", files)
    assert len(store) == 1000
    assert [store.bytes(row) for row in range(1000)] == files
    sizes = np.diff(store.starts)
    assert sizes[:-1].min() >= LEAST
    assert sizes.max() <= MOST
    assert len({*store.names}) == len(store.names) > 1000 / MOST
    for row in (-1, 1000):
        with pytest.raises(IndexError):
            store.bytes(row)
    assert pickle.loads(pickle.dumps(store)).bytes(3) == files[3]


def test_pixels(tmp_path: Path) -> None:
    store = write(tmp_path / "images", [picture((number, 0, 7)) for number in range(70)])
    assert store.pixels([0, 69]).shape == (2, 3, 8, 8)
    assert store.pixels([69])[0, :, 4, 4].tolist() == [69, 0, 7]


def test_equal_images_give_equal_bytes(tmp_path: Path) -> None:
    files = drawn(300, 1)
    write(tmp_path / "a", files)
    write(tmp_path / "b", files)
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.parametrize("where", [0, 1234, 5000])
def test_images_added_in_one_place_change_the_chunks_around_it_alone(tmp_path: Path, where: int) -> None:
    files, new = drawn(5000, 2), drawn(50, 3)
    before = write(tmp_path / "before", files)
    after = write(tmp_path / "after", [*files[:where], *new, *files[where:]])
    added = {*after.names} - {*before.names}
    # The new images, the chunk they came into, and the chunks until both are cut at the same image again.
    assert sum(rows for name, rows in zip(after.names, np.diff(after.starts), strict=True) if name in added) < 50 + 250
    for name in {*after.names} & {*before.names}:
        file = f"{name}.arrow"
        assert (tmp_path / "after" / file).read_bytes() == (tmp_path / "before" / file).read_bytes()


def test_a_read_opens_one_chunk_and_keeps_no_file_open(tmp_path: Path) -> None:
    write(tmp_path / "images", drawn(1000, 4))
    store = ImageStore(tmp_path / "images")
    store.bytes(999)
    assert store._chunk.cache_info().currsize == 1
    for row in range(1000):
        store.bytes(row)
    opened = [file.readlink() for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
    assert not [file for file in opened if tmp_path in file.parents]


def test_a_chunk_of_other_images_is_told(tmp_path: Path) -> None:
    store = write(tmp_path / "images", drawn(200, 5))
    first, second = (tmp_path / "images" / f"{name}.arrow" for name in store.names[:2])
    rows = np.diff(store.starts)
    assert rows[0] != rows[1]
    first.write_bytes(second.read_bytes())
    with pytest.raises(ArtefactError, match="tells of others") as caught:
        ImageStore(tmp_path / "images").bytes(0)
    assert caught.value.where == str(first)


@pytest.mark.parametrize("text", ["", "[]", '{"image_size": 8}', '{"image_size": 8, "chunks": [["a"]]}'])
def test_a_damaged_index_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(ArtefactError, match=r"cannot read|it lacks") as caught:
        ImageStore(tmp_path)
    assert caught.value.where == str(tmp_path / "index.json")
