"""Catalogues from disk to raw_descriptors and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix

from mufin_model.catalog import packed
from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.split import hold_out
from mufin_model.errors import ArtefactError, ImageError, SettingError


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("packed", [False, True])
def test_round_trip(tiny, packed: bool) -> None:
    tiny.write(packed)
    catalog = tiny.ingest()
    assert catalog.items["id"].to_list() == tiny.tables["items"]["id"].to_list()
    assert catalog.items["text"][9] == ""
    assert catalog.labels["id"].to_list() == ["a", "b", "c", "z"]
    assert (catalog.n_seen, catalog.n_labels) == (3, 4)
    assert catalog.items.schema["images"] == pl.List(pl.UInt32)
    assert catalog.rows("test").tolist() == [8, 9]
    assert len(catalog.rows("val")) == 1
    assert len(catalog.rows("train")) == 7
    assert catalog.links("test").toarray().tolist() == [[1, 0, 0], [0, 1, 1]]
    assert catalog.links("zero_shot").toarray().tolist() == [[1], [0]]
    assert catalog.filters("test").toarray().tolist() == [[0, 0, 0], [0, 0, 1]]
    assert catalog.filters("zero_shot").toarray().tolist() == [[1], [0]]
    both = catalog.filters("train").nnz + catalog.filters("val").nnz
    assert both == 1
    assert catalog.links("train").dtype == np.float32
    assert catalog.links("train") is catalog.links("train")
    assert catalog.label_counts().tolist() == catalog.links("train").toarray().sum(0).tolist()
    offsets, rows = catalog.label_images()
    assert offsets.tolist() == [0, 1, 1, 1, 2]
    assert rows.tolist() == [catalog.items["images"][0][0], catalog.items["images"][9][0]]
    assert offsets.dtype == rows.dtype == np.int64
    assert len(catalog.images) == 10
    assert catalog.images.image(int(rows[1])).getpixel((8, 8)) == (180, 90, 10)


def test_both_layouts_agree(tiny) -> None:
    tiny.write()
    tiny.ingest()
    from_files = content(tiny.workspace.read("demo", "raw_descriptors"))
    tiny.write(packed=True)
    tiny.ingest()
    assert content(tiny.workspace.read("demo", "raw_descriptors")) == from_files


def test_equal_input_gives_equal_bytes_and_the_seed_matters(tiny) -> None:
    tiny.write()
    seen = []
    for seed in (1, 1, 2):
        tiny.ingest(f"seed={seed}", "ingest.validation_fraction=0.3")
        seen.append(content(tiny.workspace.read("demo", "raw_descriptors")))
    assert seen[0] == seen[1]
    assert seen[0]["items.parquet"] != seen[2]["items.parquet"]


def test_split_follows_links_without_the_column(tiny) -> None:
    tiny.tables["items"] = tiny.tables["items"].drop("split")
    tiny.write()
    assert tiny.ingest().rows("test").tolist() == [8, 9]


def test_optional_tables_columns_and_types(tiny) -> None:
    for name in ("filter_train", "filter_test", "zeroshot_labels", "test_zeroshot"):
        del tiny.tables[name]
    tiny.tables["labels"] = pl.DataFrame(
        {"id": ["a", "b", "c"], "text": ["A", "B", "C"], "image_paths": [[], [], []]},
        schema_overrides={"image_paths": pl.List(pl.Null)},
    )
    tiny.tables["items"] = tiny.tables["items"].with_columns(pl.col("split").cast(pl.Categorical))
    tiny.write()
    catalog = tiny.ingest()
    assert catalog.links("zero_shot").shape == (2, 0)
    assert catalog.filters("train").nnz == 0
    assert catalog.label_images()[0].tolist() == [0, 0, 0, 0]


def test_catalogue_without_any_image(tiny) -> None:
    tiny.images = {}
    tiny.tables["items"] = tiny.tables["items"].with_columns(image_paths=pl.lit(None))
    for name in ("labels", "zeroshot_labels"):
        tiny.tables[name] = tiny.tables[name].drop("image_paths")
    tiny.write()
    catalog = tiny.ingest()
    assert len(catalog.images) == 0
    assert catalog.images.pixels([]).shape == (0, 3, 16, 16)


def test_repeated_links_and_images_count_once(tiny) -> None:
    tiny.tables["train"] = pl.concat([tiny.tables["train"], tiny.tables["train"].head(3)])
    tiny.images["images/copy.png"] = tiny.images["images/i0.png"]
    tiny.tables["items"] = tiny.tables["items"].with_columns(
        image_paths=pl.Series([["images/i0.png", "images/copy.png", None]] + [[]] * 9)
    )
    tiny.write()
    catalog = tiny.ingest()
    assert catalog.links("train").data.max() == 1
    assert catalog.items["images"][0].to_list() == [0]
    summary = json.loads((catalog.folder / "summary.json").read_text())
    assert summary["duplicate_links"] == 3
    assert summary["items_without_images"] == 9


def test_bad_images_are_all_listed_or_dropped(tiny) -> None:
    tiny.images["images/i2.png"] = tiny.images["images/i2.png"][:40]
    tiny.images["images/i3.png"] = b"no image"
    del tiny.images["images/i9.png"]
    tiny.write()
    with pytest.raises(ImageError) as caught:
        tiny.ingest()
    assert caught.value.what.startswith("3 images")
    assert "items.parquet row 2, id 'i2'" in caught.value.rows[0]
    assert "no image of a known kind" in caught.value.rows[1]
    assert caught.value.rows[2] == "images/i9.png: is missing (items.parquet row 9, id 'i9')"
    assert "bad_images=drop" in caught.value.mend
    assert not tiny.workspace.path("demo", "raw_descriptors").exists()
    catalog = tiny.ingest("ingest.bad_images=drop")
    assert len(catalog.images) == 7
    assert catalog.items["images"][2].to_list() == []
    assert json.loads((catalog.folder / "summary.json").read_text())["dropped_images"] == 3


@pytest.mark.parametrize("name", ["items.parquet", "links.parquet", "images/index.json", "images/*.arrow"])
@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_damaged_artefact(tiny, name: str, damage: str) -> None:
    tiny.write()
    folder = tiny.ingest().folder
    (file,) = folder.glob(name)
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ArtefactError, match=r"cannot read") as caught:
        Catalog.load(folder).images.image(0)
    assert caught.value.where == str(file)


def test_validation_items_are_drawn_at_random_among_linked_items() -> None:
    rng = np.random.default_rng(0)
    links = csr_matrix((rng.random((400, 60)) < rng.random(60) * 0.1).astype(np.float32))
    linked = np.diff(links.indptr) > 0
    drawn = np.stack([hold_out(links, 0.2, seed) for seed in range(50)])
    assert (drawn.sum(1) == round(0.2 * linked.sum())).all()
    assert not drawn[:, ~linked].any()
    # Each item about as often as any other: ten times of fifty, within five standard deviations.
    assert np.abs(drawn[:, linked].sum(0) - 10).max() <= 15
    assert (drawn[7] == hold_out(links, 0.2, 7)).all()
    assert (drawn[7] != drawn[8]).any()


def test_rare_labels_are_not_spared() -> None:
    assert hold_out(csr_matrix(np.eye(500, dtype=np.float32)), 0.2, 0).sum() == 100
    assert hold_out(csr_matrix(np.eye(5, dtype=np.float32)), 0.0, 0).sum() == 0


def test_everything_held_out_is_refused() -> None:
    with pytest.raises(SettingError, match="leave none") as caught:
        hold_out(csr_matrix(np.ones((4, 2), np.float32)), 1.0, 0)
    assert caught.value.where == "ingest.validation_fraction"


def test_split_images_agree_with_one_file(tiny) -> None:
    tiny.write(packed=True)
    tiny.ingest()
    from_one_file = content(tiny.workspace.read("demo", "raw_descriptors"))
    one = tiny.folder / "images.parquet"
    packed.split(one, tiny.folder / "split")
    one.unlink()
    (tiny.folder / "split").rename(one)
    tiny.ingest()
    assert content(tiny.workspace.read("demo", "raw_descriptors")) == from_one_file
