"""Each mistake in a catalogue: the error names file, column, rows and mend."""
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from mufin_model.catalog import readers
from mufin_model.errors import CatalogError, SettingError

Tables = dict[str, pl.DataFrame]


def replace(table: str, **columns: object) -> Callable[[Tables], None]:
    def spoil(tables: Tables) -> None:
        tables[table] = tables[table].with_columns(**columns)

    return spoil


def rename(table: str, old: str, new: str) -> Callable[[Tables], None]:
    def spoil(tables: Tables) -> None:
        tables[table] = tables[table].rename({old: new})

    return spoil


def put(table: str, frame: pl.DataFrame) -> Callable[[Tables], None]:
    return lambda tables: tables.update({table: frame})


def drop(table: str) -> Callable[[Tables], None]:
    return lambda tables: tables.__delitem__(table)


def pairs(*links: tuple[str | None, str | None]) -> pl.DataFrame:
    return pl.DataFrame(list(links), schema={"item_id": pl.String, "label_id": pl.String}, orient="row")


ITEM = pl.int_range(pl.len())
MISTAKES = {
    # name: (spoil, what, file, column, first row, mend)
    "file missing": (drop("labels"), "labels.parquet is missing", "labels", "", "found: filter", "add labels.parquet"),
    "column missing": (rename("items", "id", "Item_ID"), "'id' is missing", "items", "id", "has: ", "rename 'Item_ID'"),
    "column misspelt": (rename("train", "label_id", "labelid"), "is missing", "train", "label_id", "", "rename 'labelid'"),
    "id a number": (replace("items", id=ITEM), "holds Int64", "items", "id", "row 0: 0", "as strings"),
    "link a number": (replace("test", item_id=ITEM), "holds Int64", "test", "item_id", "row 0: 0", "as strings"),
    "one path": (replace("items", image_paths=pl.lit("x.png")), "holds String", "items", "image_paths", "row 0", "lists"),
    "id null": (
        replace("items", id=pl.when(ITEM == 3).then(None).otherwise("id")),
        "1 rows have no id", "items", "id", "row 3: id=None, text='item 3'", "give each row an id",
    ),
    "id blank": (
        replace("labels", id=pl.Series(["a", " ", "c"])), "1 rows have no id", "labels", "id", "row 1: id=' '", "",
    ),
    "id twice": (
        replace("labels", id=pl.Series(["a", "b", "a"])), "1 ids occur", "labels", "id", "row 0: id='a'", "keep one row",
    ),
    "unknown item": (
        put("train", pairs(("i0", "a"), ("x", "a"), ("x", "b"))),
        "2 links lead to 1 unknown item ids", "train", "item_id", "row 1: item_id='x', label_id='a'", "items.parquet",
    ),
    "unknown label": (
        put("test", pairs(("i8", "a"), ("i9", "q"))),
        "1 links lead to 1 unknown label ids", "test", "label_id", "row 1: item_id='i9', label_id='q'", "labels.parquet",
    ),
    "link to nothing": (
        put("test", pairs(("i8", None))), "unknown label ids", "test", "label_id", "row 0: item_id='i8', label_id=None", "",
    ),
    "zero-shot label in training": (
        put("train", pairs(("i0", "z"))), "unknown label ids", "train", "label_id", "row 0", "labels.parquet",
    ),
    "seen label as zero-shot": (
        put("test_zeroshot", pairs(("i8", "a"))),
        "unknown label ids", "test_zeroshot", "label_id", "row 0", "zeroshot_labels.parquet",
    ),
    "filter of an unknown item": (
        put("filter_test", pairs(("x", "a"))), "unknown item ids", "filter_test", "item_id", "row 0", "remove the links",
    ),
    "label seen and zero-shot": (
        replace("zeroshot_labels", id=pl.lit("c")),
        "1 labels are both", "zeroshot_labels", "id", "row 0: id='c'", "labels.parquet",
    ),
    "zero-shot links without labels": (
        drop("zeroshot_labels"), "no zero-shot labels", "test_zeroshot", "", "", "add the table zeroshot_labels",
    ),
    "train empty": (put("train", pairs()), "train split is empty", "train", "", "", "at least one train item"),
    "test empty": (put("test", pairs()), "test split is empty", "test", "", "", "at least one test item"),
    "no labels": (
        lambda tables: tables.update(labels=tables["labels"].head(0)), "no labels", "labels", "", "", "add the labels",
    ),
    "unknown split": (
        replace("items", split=pl.when(ITEM == 1).then(pl.lit("dev")).otherwise("split")),
        "1 items are of no known split", "items", "split", "row 1: id='i1', split='dev'", "'train' or 'test'",
    ),
    "test item in training": (
        put("train", pairs(("i0", "a"), ("i8", "a"))),
        "1 test items have links in the train split", "train", "item_id", "row 8: id='i8'", "remove their links",
    ),
    "training item in test": (
        put("test", pairs(("i8", "a"), ("i2", "b"))),
        "1 train items have links in the test split", "test", "item_id", "row 2: id='i2'", "remove their links",
    ),
    "absolute path": (
        replace("items", image_paths=pl.Series([["/etc/passwd"]] + [[]] * 9)),
        "1 rows have image paths outside", "items", "image_paths", "row 0: id='i0', image_paths=['/etc/passwd']",
        "below the catalogue",
    ),
    "climbing path": (
        replace("labels", image_paths=pl.Series([[], [], ["images/../../x.png"]])),
        "outside", "labels", "image_paths", "row 2: id='c'", "relative",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(tiny, name: str) -> None:
    spoil, what, file, column, row, mend = MISTAKES[name]
    spoil(tiny.tables)
    tiny.write()
    with pytest.raises(CatalogError) as caught:
        tiny.ingest()
    error = caught.value
    assert what in error.what
    assert error.where == str(tiny.folder / f"{file}.parquet") + (f", column {column}" if column else "")
    assert (error.rows[0] if error.rows else "").startswith(row)
    assert mend in error.mend
    assert not tiny.workspace.path("demo", "raw_descriptors").exists()


def test_item_in_both_splits_without_the_column(tiny) -> None:
    tiny.tables["items"] = tiny.tables["items"].drop("split")
    tiny.tables["test"] = pairs(("i8", "a"), ("i0", "b"))
    tiny.write()
    with pytest.raises(CatalogError, match="have links in the train split") as caught:
        tiny.ingest()
    assert caught.value.rows == ["row 0: id='i0'"]


def test_file_misnamed(tiny) -> None:
    tiny.write()
    (tiny.folder / "labels.parquet").rename(tiny.folder / "label.parquet")
    with pytest.raises(CatalogError) as caught:
        tiny.ingest()
    assert caught.value.mend == "rename 'label.parquet' to 'labels.parquet'"


def test_no_parquet(tiny) -> None:
    tiny.write()
    (tiny.folder / "test.parquet").write_text("item_id,label_id\n")
    with pytest.raises(CatalogError, match="no readable Parquet") as caught:
        tiny.ingest()
    assert caught.value.where == str(tiny.folder / "test.parquet")


@pytest.mark.parametrize(
    ("columns", "what", "column"),
    [
        ({"file": ["x"], "bytes": [b"x"]}, "'path' is missing", "path"),
        ({"path": ["x"], "bytes": ["x"]}, "'bytes' holds", "bytes"),
        ({"path": ["x", "x"], "bytes": [b"x", b"y"]}, "more than once", "path"),
    ],
)
def test_packed_images(tiny, columns: dict[str, list[object]], what: str, column: str) -> None:
    tiny.write()
    pl.DataFrame(columns).write_parquet(tiny.folder / "images.parquet")
    with pytest.raises(CatalogError, match=what) as caught:
        tiny.ingest()
    assert caught.value.where == str(tiny.folder / "images.parquet") + f", column {column}"


def test_readers(tiny, tmp_path) -> None:
    assert {"generic", "lf", "mm_amazon", "xc"} <= set(readers.formats())
    with pytest.raises(CatalogError, match="there is no catalogue"):
        readers.read(tmp_path / "none", "auto")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CatalogError, match="of no known format"):
        readers.read(tmp_path / "empty", "auto")
    with pytest.raises(SettingError, match="unknown catalogue format") as caught:
        readers.read(tmp_path, "genric")
    assert caught.value.rows == ["auto", *readers.formats()]
    assert "generic" in caught.value.mend
