"""The gate's test items stay the gate's in every version of the data."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.gate_items import gate_items
from tests.conftest import Small


@pytest.fixture
def catalog(built: Small, tmp_path: Path) -> Catalog:
    """The small catalogue with four thousand more test items."""
    folder = tmp_path / "catalog"
    shutil.copytree(built.noun("raw_descriptors"), folder)
    items = pl.read_parquet(folder / "items.parquet")
    more = items.filter(pl.col("split") == "test").sample(4000, with_replacement=True, seed=1)
    more = more.with_columns(id=pl.format("more-{}", pl.int_range(pl.len())))
    pl.concat([items, more]).write_parquet(folder / "items.parquet")
    return Catalog.load(folder)


def sides(catalog: Catalog, share: float) -> dict[str, bool]:
    ids = catalog.items["id"].gather(catalog.rows("test"))
    return dict(zip(ids, gate_items(catalog, share).tolist(), strict=True))


def test_a_share_of_the_test_items_is_the_gates(catalog: Catalog) -> None:
    assert not gate_items(catalog, 0.0).any()
    assert gate_items(catalog, 1.0).all()
    assert abs(gate_items(catalog, 0.3).mean() - 0.3) < 0.03
    # a larger share takes items in and puts none out
    assert (gate_items(catalog, 0.3) <= gate_items(catalog, 0.5)).all()


def test_an_item_stays_on_its_side_whatever_else_the_version_holds(catalog: Catalog) -> None:
    before = sides(catalog, 0.5)
    path = catalog.folder / "items.parquet"
    kept = pl.read_parquet(path).sample(fraction=0.6, shuffle=True, seed=5)
    new = kept.filter(pl.col("split") == "test").head(9).with_columns(id=pl.format("new-{}", pl.int_range(pl.len())))
    pl.concat([new, kept]).write_parquet(path)
    after = sides(Catalog.load(catalog.folder), 0.5)
    common = before.keys() & after.keys()
    assert 2000 < len(common) < len(before)
    assert {id_: before[id_] for id_ in common} == {id_: after[id_] for id_ in common}
    assert np.array_equal(sorted(set(before.values())), [False, True])
