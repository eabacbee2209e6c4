"""`mufin ingest --check`: everything that is wrong, at once, and nothing written."""

from __future__ import annotations

import pickle

import numpy as np
import polars as pl
import pytest

from mufin_model.catalog.faults import gathered
from mufin_model.cli import app
from mufin_model.errors import CatalogError, SettingError, SeveralErrors

from .conftest import Tiny
from .samples import lf, mm_amazon, xc
from .samples.content import Content
from .test_hostile import outside
from .test_mistakes import MISTAKES, pairs


def faults(tiny: Tiny, *overrides: str) -> list[str]:
    """What the check tells, in its order."""
    before = outside(tiny.workspace)
    found = tiny.check(*overrides)
    assert outside(tiny.workspace) == before
    assert not tiny.workspace.path("demo", "raw_descriptors").exists()
    assert all(error.where and error.mend for error in found)
    return [error.what for error in found]


def test_nothing_is_wrong(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.write()
    assert faults(tiny) == []
    told = "demo: nothing is wrong with it: 10 items, 3 labels (+1 zero-shot), 20 links, 10 image paths\n"
    assert capsys.readouterr().out.endswith(told)


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_among_what_is_told(tiny: Tiny, name: str) -> None:
    spoil, what, *_ = MISTAKES[name]
    spoil(tiny.tables)
    tiny.write()
    assert any(what in told for told in faults(tiny))


def test_all_at_once(tiny: Tiny) -> None:
    tables = tiny.tables
    row = pl.int_range(pl.len())
    tables["items"] = tables["items"].with_columns(
        id=pl.when(row == 3).then(pl.lit("i2")).when(row == 4).then(pl.lit("i\n")).otherwise("id"),
        split=pl.when(row == 1).then(pl.lit("dev")).otherwise("split"),
    )
    tables["labels"] = tables["labels"].with_columns(image_paths=pl.Series([["/etc/x"], ["images/none.png"], []]))
    tables["zeroshot_labels"] = tables["zeroshot_labels"].with_columns(id=pl.lit("c"))
    tables["train"] = pairs(("i0", "a"), ("i9", "b"), ("i0", "q"))
    tables["test"] = pairs()
    tables["filter_train"] = tables["filter_train"].with_columns(item_id=pl.lit(1), label_id=pl.lit(2.0))
    del tables["filter_test"], tables["test_zeroshot"]
    tiny.write()
    (tiny.folder / "images" / "i1.png").write_bytes(b"x")
    assert faults(tiny) == [
        "1 rows have image paths outside the catalogue",
        "1 ids hold line ends, control characters or direction marks",
        "1 ids occur more than once",
        "column 'item_id' holds Int32, not strings",
        "column 'label_id' holds Float64, not strings",
        "1 labels are both seen and zero-shot",
        "1 links lead to 1 unknown label ids",
        "the test split is empty",
        "3 images are missing or do not decode",
    ]


def test_splits_are_held_against_links_where_both_are_known(tiny: Tiny) -> None:
    tiny.tables["items"] = tiny.tables["items"].with_columns(split=pl.Series(["dev", *["train"] * 7, *["test"] * 2]))
    tiny.tables["train"] = pairs(("i1", "a"), ("i8", "b"))
    tiny.tables["test"] = pairs(("i9", "a"), ("i2", "b"))
    tiny.write()
    assert faults(tiny) == [
        "1 items are of no known split",
        "1 test items have links in the train split",
        "1 train items have links in the test split",
    ]


def test_images_are_looked_at_whatever_the_tables(tiny: Tiny) -> None:
    """But for a table without paths that can be read."""
    tiny.tables["items"] = tiny.tables["items"].rename({"text": "title"})
    tiny.tables["labels"] = tiny.tables["labels"].with_columns(image_paths=pl.Series([["none.png"], [], []]))
    tiny.write()
    assert faults(tiny) == ["column 'text' is missing", "1 images are missing or do not decode"]
    assert faults(tiny, "ingest.bad_images=drop") == ["column 'text' is missing"]


@pytest.mark.parametrize("name", ["items", "labels", "train", "test", "zeroshot_labels"])
def test_what_a_damaged_table_leaves_is_looked_at(tiny: Tiny, name: str) -> None:
    other = "labels" if name == "items" else "items"
    tiny.tables[other] = tiny.tables[other].with_columns(id=pl.lit("a"))
    tiny.write()
    (tiny.folder / f"{name}.parquet").write_bytes(b"x")
    (tiny.folder / "images" / "i9.png").write_bytes(b"x")
    told = faults(tiny)
    assert told[0].startswith("no readable Parquet file")
    assert "1 ids occur more than once" in told
    assert told[-1] == "1 images are missing or do not decode"
    # Links are followed where both of their ends can be read.
    assert any("unknown item ids" in one for one in told) == (name in ("train", "test"))
    if name != "zeroshot_labels":
        (tiny.folder / f"{name}.parquet").unlink()
        assert faults(tiny)[0] == f"{name}.parquet is missing"


def test_bad_lines_of_several_columns(tiny: Tiny) -> None:
    tiny.folder.mkdir(parents=True)
    for name, line in {
        "items": '{"id": 1.5, "text": [], "image_paths": "a"}\n{\n',
        "labels": '{"id": "a", "text": 0.5}',
        "train": "",
        "test": "",
    }.items():
        (tiny.folder / f"{name}.jsonl").write_text(line)
    assert faults(tiny) == [
        "1 lines are no JSON objects",
        "1 lines hold no string",
        "1 lines hold no string",
        "1 lines hold no list of strings",
        "1 lines hold no string",
    ]


def test_numbered_formats(tiny: Tiny) -> None:
    """Each damaged file is told of, and then each that does not fit."""
    xc.write(tiny.folder, Content())
    for file in ("trn_X_Y.txt", "raw_data/train.raw.txt", "raw_data/label.raw.txt", "filter_labels_test.txt"):
        data = (tiny.folder / file).read_bytes()
        (tiny.folder / file).write_bytes(b"x\n" + data)
    assert len(faults(tiny)) == 4
    xc.write(tiny.folder, Content())
    for file in ("trn_X_Y.txt", "tst_X_Y.txt"):
        data = (tiny.folder / file).read_bytes()
        (tiny.folder / file).write_bytes(data.replace(b" 4\n", b" 9\n", 1))
    assert [told[:41] for told in faults(tiny)] == [
        "the matrix is of 5 rows and 9 columns, bu",
        "the matrix is of 3 rows and 9 columns, bu",
    ]


def test_images_in_lines_and_vectors(tiny: Tiny) -> None:
    mm_amazon.write(tiny.folder, Content())
    for name in ("train", "label"):
        (tiny.folder / "images" / f"{name}.img.bin.npz").write_bytes(b"x")
    assert [told[:25] for told in faults(tiny)] == ["no readable sparse matrix"] * 2


def test_vectors(tiny: Tiny) -> None:
    lf.write(tiny.folder, Content())
    lf.write_vectors(tiny.folder, Content())
    assert faults(tiny) == []
    file = next(tiny.folder.glob("trn_embs_imgs_*.npy"))
    vectors = np.load(file)
    vectors[0] = np.inf
    np.save(file, vectors)
    assert [told[:28] for told in faults(tiny)] == ["image vectors are not finite"]


def test_a_setting(tiny: Tiny) -> None:
    tiny.write()
    (tiny.folder / "images" / "i1.png").write_bytes(b"x")
    assert [told[:6] for told in faults(tiny, "ingest.validation_fraction=1")] == ["1 of 8", "1 imag"]


def test_command(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    monkeypatch.chdir(tiny.workspace.root)
    tiny.write()
    args = ["ingest", "-d", "demo", "--check"]
    assert CliRunner().invoke(app, args).exit_code == 0
    (tiny.folder / "images" / "i1.png").write_bytes(b"x")
    tiny.tables["train"].head(0).write_parquet(tiny.folder / "train.parquet")
    run = CliRunner().invoke(app, args)
    assert run.exit_code == 2
    assert run.stderr.splitlines() == [
        "CatalogError: the train split is empty",
        f"  where: {tiny.folder}/train.parquet",
        "  mend:  give at least one train item a label",
        "ImageError: 1 images are missing or do not decode",
        f"  where: {tiny.folder}/items.parquet, column image_paths",
        "         images/i1.png: is no image of a known kind (items.parquet row 1, id 'i1')",
        "  mend:  mend or remove them; or -S ingest.bad_images=drop leaves them out",
        "2 faults in all",
    ]
    assert not tiny.workspace.path("demo", "raw_descriptors").exists()


def test_several_errors_travel() -> None:
    """As the errors of one process are told in another."""
    errors = [CatalogError("a", where="x", mend="y"), SettingError("b", where="z")]
    again = pickle.loads(pickle.dumps(SeveralErrors(errors)))
    assert str(again) == str(SeveralErrors(errors))
    assert (again.what, again.rows, again.where) == ("2 faults", ["a", "b"], "x")


def test_only_one_is_itself() -> None:
    with pytest.raises(CatalogError, match="a"), gathered():
        raise CatalogError("a")
    with gathered():
        pass
