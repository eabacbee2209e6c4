"""Polyvore Outfits: outfits become links between products, their questions are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mufin_model.catalog import json_entries, outfits, readers
from mufin_model.catalog.schema import check
from mufin_model.errors import ArtefactError, CatalogError, ImageError

from ..conftest import Tiny
from ..samples import polyvore as sample
from ..samples.content import jpeg
from ..samples.polyvore import Outfits
from .conftest import recognised

TRAIN, TEST = ["143", "155", "160", "171", "180", "190"], ["500", "510", "520", "530", "540"]


def pairs(*outfits: list[str]) -> set[tuple[str, str]]:
    return {(one, other) for members in outfits for one in members for other in members if one != other}


@pytest.mark.parametrize("block", [1, 7, 10**6])
def test_round_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(json_entries, "BLOCK", block)
    made = Outfits()
    sample.write(tmp_path, made)
    source = readers.read(tmp_path, "auto")
    check(source)
    items = source.tables["items"]
    assert items["id"].to_list() == TRAIN + TEST
    assert items["split"].to_list() == ["train"] * 6 + ["test"] * 5
    texts = made.titles | {"530": "leather-boots", "540": ""}
    assert items["text"].to_list() == [texts[product] for product in TRAIN + TEST]
    assert source.tables["labels"].equals(items.drop("split"))
    assert set(source.tables["train"].iter_rows()) == pairs(*made.sets["train"].values())
    of_test = {(one, other) for one, other in pairs(*made.sets["test"].values()) if one != "143"}
    assert set(source.tables["test"].iter_rows()) == of_test
    assert list(source.tables["filter_test"].iter_rows()) == [(product, product) for product in TEST]
    assert source.questions is not None
    assert source.questions.fill_in_blank.rows() == [
        (["500", "143"], ["520", "510", "540", "530"], 1),
        (["540", "510"], ["530", "520", "500", "143"], 0),
    ]
    assert source.questions.compatibility.rows() == [
        (["500", "143", "510"], True),
        (["500", "520"], False),
        (["510", "530", "540"], True),
        (["530", "510", "540"], False),
    ]
    load = dict(source.images.stream([path for row in items["image_paths"] for path in row]))
    assert load["images/143.jpg"]() == jpeg(0)


def test_only_this_reader_recognises_it(tmp_path: Path) -> None:
    sample.write(tmp_path, Outfits(), "disjoint")
    assert recognised(tmp_path) == ["polyvore"]


def test_ingest(tiny: Tiny) -> None:
    sample.write(tiny.folder, Outfits())
    catalog = tiny.ingest("ingest.validation_fraction=0")
    summary = json.loads((catalog.folder / "summary.json").read_text())
    assert summary["questions"] == {"fill_in_blank": 2, "compatibility": 4}
    assert (summary["items"], summary["labels"], summary["images"], summary["filters"]) == (11, 11, 11, 11)
    asked = outfits.read(catalog.folder)
    assert asked is not None
    ids = catalog.items["id"].to_list()
    assert [[ids[row] for row in rows] for rows in asked.fill_in_blank["answers"]][1] == ["530", "520", "500", "143"]
    (catalog.folder / "compatibility.parquet").unlink()
    with pytest.raises(ArtefactError, match="cannot read compatibility"):
        outfits.read(catalog.folder)


def test_what_may_be_left_out(tmp_path: Path) -> None:
    """Files in one folder, no images, no questions of one kind, then of either."""
    sample.write(tmp_path, Outfits())
    for file in (tmp_path / "nondisjoint").iterdir():
        file.rename(tmp_path / file.name)
    (tmp_path / "nondisjoint").rmdir()
    for file in (tmp_path / "images").iterdir():
        file.unlink()
    (tmp_path / "images").rmdir()
    (tmp_path / "fill_in_blank_test.json").unlink()
    source = readers.read(tmp_path, "polyvore")
    assert source.tables["items"]["image_paths"].list.len().sum() == 0
    assert source.questions is not None
    assert (source.questions.fill_in_blank.height, source.questions.compatibility.height) == (0, 4)
    assert source.questions.write(tmp_path, source.tables["items"]["id"])["fill_in_blank"] == 0
    (tmp_path / "compatibility_test.txt").unlink()
    assert readers.read(tmp_path, "polyvore").questions is None


def test_ids_as_numbers_and_lone_surrogates(tmp_path: Path) -> None:
    made = Outfits()
    sample.write(tmp_path, made)
    file = tmp_path / "nondisjoint" / "train.json"
    file.write_text(file.read_text().replace('"item_id": "143"', '"item_id": 143'))
    metadata = tmp_path / sample_metadata(tmp_path).name
    metadata.write_text(metadata.read_text().replace("Product 143", "\\ud800 robe"))
    items = readers.read(tmp_path, "polyvore").tables["items"]
    assert items.row(0)[:2] == ("143", "? robe")


def sample_metadata(folder: Path) -> Path:
    return folder / "polyvore_item_metadata.json"


def replaced(file: str, old: str, new: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))

    return spoil


def written(file: str, data: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_bytes(data) and None


N = "nondisjoint/"
MISTAKES: dict[str, tuple[Callable[[Path], None], str, str, str]] = {
    # name: (spoil, what, where, row)
    "both splits": (lambda f: (f / "disjoint").mkdir(), "both splits", "", "nondisjoint"),
    "no test": (lambda f: (f / N / "test.json").unlink(), "test.json is missing", "test.json", ""),
    "no metadata": (lambda f: sample_metadata(f).unlink(), "is missing", "metadata.json", ""),
    "metadata a folder": (
        lambda f: (sample_metadata(f).unlink(), sample_metadata(f).mkdir(), None)[2],
        "is missing",
        "metadata.json",
        "",
    ),
    "cut short": (written(N + "train.json", b'[{"items": [{"item_id": "1"'), "no readable JSON", "train.json", ""),
    "breaks off": (
        written(N + "train.json", b'[{"set_id": 1, "items": [{"item_id": 1, "index": 1}]}'),
        "breaks off",
        "entry 1",
        "",
    ),
    "something behind": (written(N + "train.json", b"[] []"), "something follows", "train.json", ""),
    "other kind": (written(N + "train.json", b'{"a": 1}'), "does not begin as a list", "train.json", ""),
    "metadata a list": (written("polyvore_item_metadata.json", b"[1]"), "as an object", "metadata.json, entry 0", ""),
    "no colon": (written("polyvore_item_metadata.json", b'{"a" 1}'), "a colon", "metadata.json", ""),
    "no comma": (written("polyvore_item_metadata.json", b'{"a": {} "b": {}}'), "follows the entry", "entry 1", ""),
    "empty": (written(N + "test.json", b""), "does not begin", "test.json", ""),
    "not utf-8": (written(N + "test.json", b'["\xff"]'), "in no encoding", "test.json", ""),
    "endless nesting": (written(N + "test.json", b"[" * 100_000), "nested too deep", "test.json", ""),
    "no outfits": (written(N + "test.json", b"[]"), "no questions about the test", "fill_in", "in no test outfit"),
    "outfit a list": (written(N + "train.json", b"[[1]]"), "no outfits", "train.json", "entry 0: an outfit is an"),
    "no set id": (
        replaced(N + "train.json", '"set_id": "100"', '"set": "100"'),
        "no outfits",
        "train",
        "entry 1: set_id",
    ),
    "set twice": (replaced(N + "train.json", '"set_id": "100"', '"set_id": "119704139"'), "", "train", "occurs twice"),
    "no items": (written(N + "train.json", b'[{"set_id": "1", "items": []}]'), "", "train", "items is missing"),
    "no index": (replaced(N + "train.json", '"index": 1', '"index": true'), "", "train", "has no index"),
    "index twice": (replaced(N + "train.json", '"index": 2', '"index": 1'), "", "train", "index 1 occurs twice"),
    "item id null": (
        replaced(N + "test.json", '"item_id": "500"', '"item_id": null'),
        "",
        "test",
        "item_id is missing",
    ),
    "title a number": (
        replaced("polyvore_item_metadata.json", '"Product 143"', "5"),
        "nothing of their products",
        "metadata",
        "entry '143'",
    ),
    "product tells nothing": (written("polyvore_item_metadata.json", b'{"500": 3}'), "", "metadata", "entry '500'"),
    "question of another split": (
        replaced(N + "fill_in_blank_test.json", "201_1", "100_1"),
        "no questions",
        "fill_in",
        "entry 0: '100_1' is in no test outfit",
    ),
    "no right answer": (
        replaced(N + "fill_in_blank_test.json", "200_3", "201_2"),
        "",
        "fill_in",
        "0 of its answers are of its own",
    ),
    "two right answers": (
        replaced(N + "fill_in_blank_test.json", "201_1", "200_3"),
        "",
        "fill_in",
        "2 of its answers are of its own",
    ),
    "answers a text": (
        written(N + "fill_in_blank_test.json", b'[{"question": ["200_1"], "answers": "200_2"}]'),
        "",
        "fill_in",
        "fewer than 2 products",
    ),
    "question a number": (written(N + "fill_in_blank_test.json", b"[4]"), "", "fill_in", "a question is an object"),
    "neither 0 nor 1": (replaced(N + "compatibility_test.txt", "1 ", "2 "), "begins with 0 or 1", "compat", "line 1"),
    "one product": (replaced(N + "compatibility_test.txt", " 201_1", ""), "fewer than 2", "compat", "line 2"),
    "unknown product": (
        replaced(N + "compatibility_test.txt", "202_3", "202_9"),
        "'202_9' is in no",
        "compat",
        "line 3",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(tmp_path: Path, name: str) -> None:
    sample.write(tmp_path, Outfits())
    spoil, what, where, row = MISTAKES[name]
    spoil(tmp_path)
    with pytest.raises(CatalogError) as raised:
        check(readers.read(tmp_path, "polyvore"))
    error = raised.value
    assert what in error.what
    assert where in error.where
    assert row in "\n".join(map(str, error.rows))
    assert error.mend


def test_an_entry_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_entries, "BLOCK", 100)
    monkeypatch.setattr(json_entries, "MAX_ENTRY", 1000)
    sample.write(tmp_path, Outfits())
    sample_metadata(tmp_path).write_text('{"143": "' + "x" * 100_000 + '"}')
    with pytest.raises(CatalogError, match="no value within 1,000 characters"):
        readers.read(tmp_path, "polyvore")


def test_an_id_that_climbs_out_reads_nothing(tiny: Tiny) -> None:
    made = Outfits()
    sample.write(tiny.folder, made)
    (tiny.folder.parent / "secret.jpg").write_bytes(jpeg(1))
    file = tiny.folder / N / "train.json"
    file.write_text(file.read_text().replace('"155"', '"../../secret"'))
    with pytest.raises(ImageError, match="leads out of the catalogue"):
        tiny.ingest()
