"""The embedded demo catalogue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mufin_model.catalog import synthetic
from mufin_model.catalog.catalog import Catalog
from mufin_model.errors import SettingError


def test_a_sound_catalogue(tiny) -> None:
    synthetic.write(tiny.folder, 200, seed=3)
    catalog: Catalog = tiny.ingest("ingest.image_size=64")
    assert catalog.items.height == 200
    assert len(catalog.rows("test")) == 50
    assert catalog.links("zero_shot").nnz > 0
    assert catalog.filters("test").nnz > 0
    assert (np.diff(catalog.links("train").indptr) >= 1).all()
    nothing = (catalog.items["images"].list.len() == 0) & (catalog.items["text"] == "")
    assert not nothing.any()
    assert np.median(catalog.label_counts()) >= 3


@pytest.mark.parametrize("items", [synthetic.FEWEST, 61])
def test_few_items_are_enough(tiny, items: int) -> None:
    synthetic.write(tiny.folder, items, seed=0)
    assert tiny.ingest().items.height == items


def test_equal_seeds_give_equal_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        synthetic.write(tmp_path / name, 60, seed)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    assert (tmp_path / "a/items.parquet").read_bytes() != (tmp_path / "c/items.parquet").read_bytes()


def test_both_kinds_of_filters(tmp_path: Path) -> None:
    synthetic.write(tmp_path, 400, seed=1)
    kinds = pl.read_parquet(tmp_path / "filter_test.parquet")["kind"].unique().sort().to_list()
    assert kinds == ["reciprocal", "self"]


def test_too_few_items(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="too few"):
        synthetic.write(tmp_path, 5, seed=0)
