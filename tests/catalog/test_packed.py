"""Packed images, split by content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mufin_model.catalog.packed import PackedImages, split
from mufin_model.errors import CatalogError


def write(file: Path, count: int, seed: int = 0) -> pl.DataFrame:
    drawn = np.random.default_rng(seed).integers(0, 256, (count, 30), np.uint8)
    table = pl.DataFrame({"path": [f"{seed}/{row}" for row in range(count)], "bytes": [bytes(row) for row in drawn]})
    table.write_parquet(file)
    return table


def files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def test_split_keeps_images_and_order(tmp_path: Path) -> None:
    table = write(tmp_path / "one", 700)
    split(tmp_path / "one", tmp_path / "images.parquet")
    assert len(files(tmp_path / "images.parquet")) > 10
    told = [(path, load()) for path, load in PackedImages(tmp_path / "images.parquet").stream(table["path"])]
    assert told == list(table.iter_rows())


def test_images_appended_leave_all_but_the_last_file_as_they_were(tmp_path: Path) -> None:
    before = write(tmp_path / "before", 700)
    pl.concat([before, write(tmp_path / "new", 7, seed=1)]).write_parquet(tmp_path / "after")
    for name in ("before", "after"):
        split(tmp_path / name, tmp_path / f"{name}.d")
    old, new = files(tmp_path / "before.d"), files(tmp_path / "after.d")
    assert old[:-1] == new[: len(old) - 1]
    assert len(new) <= len(old) + 1


def test_a_path_in_two_files_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "images.parquet"
    folder.mkdir()
    with pytest.raises(CatalogError, match="no Parquet file"):
        PackedImages(folder)
    for part in ("a.parquet", "b.parquet"):
        write(folder / part, 3)
    with pytest.raises(CatalogError, match="more than once"):
        PackedImages(folder)
