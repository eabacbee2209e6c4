"""JSON Lines: written, read back, spoilt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mufin_model.catalog import lines, readers
from mufin_model.catalog.schema import check
from mufin_model.errors import CatalogError

from ..conftest import Tiny
from ..samples import jsonl as sample
from ..samples.content import Content, jpeg
from .conftest import expected, paths, recognised, told


@pytest.mark.parametrize(("packed", "ascii_only", "block"), [(False, False, 5), (True, True, 40), (True, False, 10**6)])
def test_round_trip(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch, packed: bool, ascii_only: bool, block: int
) -> None:
    monkeypatch.setattr(lines, "BLOCK", block)
    content.titles["test"][0] = 'Line\nend, "quotes" \U0001f4a1'
    sample.write(tmp_path, content, packed, ascii_only)
    source = readers.read(tmp_path, "auto")
    assert told(source, content) == expected(content)
    assert source.tables["items"]["id"].to_list() == content.uids["train"] + content.uids["test"]
    assert check(source).items["image_paths"].to_list() == paths(content)
    assert dict(source.images.stream(["images/4.jpg"]))["images/4.jpg"]() == jpeg(4)


@pytest.mark.parametrize("packed", [False, True])
def test_only_this_reader_recognises_it(tmp_path: Path, content: Content, packed: bool) -> None:
    sample.write(tmp_path, content, packed)
    assert recognised(tmp_path) == ["jsonl"]


def test_sample_is_written_as_described(tmp_path: Path, content: Content) -> None:
    sample.write(tmp_path, content)
    first, *_ = (tmp_path / "items.jsonl").read_bytes().split(b"\n")
    assert first == b'{"id": "B00A", "text": "Red oak chair", "image_paths": ["images/0.jpg"], "split": "train"}'


def test_ingest(tiny: Tiny, content: Content) -> None:
    sample.write(tiny.folder, content)
    catalog = tiny.ingest("ingest.validation_fraction=0")
    assert catalog.links("test").toarray().tolist() == [[0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]]
    assert len(catalog.images) == 12


def smallest(folder: Path, *items: object) -> Path:
    """A catalogue of these items, bytes or records, whose first is a training item and whose second a test item."""
    (folder / "labels.jsonl").write_text('{"id": "l1", "text": "red"}\n')
    (folder / "train.jsonl").write_text('{"item_id": "1", "label_id": "l1"}\n')
    (folder / "test.jsonl").write_text('{"label_id": "l1", "item_id": 2}')
    written = [item if isinstance(item, bytes) else json.dumps(item).encode() for item in items]
    (folder / "items.jsonl").write_bytes(b"\n".join(written))
    return folder


def test_what_is_as_good(tmp_path: Path) -> None:
    """Missing and further keys, whole numbers, blank lines, a mark, Windows line ends, lone surrogates, no lines."""
    first = {"id": 1, "price": 3.5, "text": "a\ud800b"}
    second = {"text": None, "image_paths": ["x.png", None], "id": "2"}
    smallest(tmp_path, b"\xef\xbb\xbf" + json.dumps(first).encode() + b"\r", b"", second, b"  ", b"")
    (tmp_path / "filter_test.jsonl").write_bytes(b"")
    source = readers.read(tmp_path, "jsonl")
    tables = check(source)
    assert tables.items.rows() == [("1", "a?b", [], "train"), ("2", "", ["x.png"], "test")]
    assert tables.labels["image_paths"].to_list() == [[]]
    assert tables.links.height == 2
    assert source.tables["filter_test"].is_empty()


def test_a_column_that_only_the_last_record_has(tmp_path: Path) -> None:
    """However many other keys come before it."""
    odd = {f"key{number}": number for number in range(500)}
    smallest(tmp_path, {"id": "1", **odd}, {"id": "2", "text": "x", "image_paths": []})
    assert check(readers.read(tmp_path, "jsonl")).items["text"].to_list() == ["", "x"]


ITEM = {"id": "1", "text": "x", "image_paths": []}


@pytest.mark.parametrize(
    ("record", "what", "column", "mend"),
    [
        (b"{", "1 lines are no JSON objects", "", "write an object a line"),
        (b"[1]", "1 lines are no JSON objects", "", ""),
        (b"null", "1 lines are no JSON objects", "", ""),
        (b'{"id": "2"} {"id": "3"}', "1 lines are no JSON objects", "", ""),
        (b'{"id": "\xff"}', "1 lines are not UTF-8", "", ""),
        (b"[" * 100_000, "1 lines are no JSON objects", "", ""),
        (b'{"id": ' + b"9" * 5_000 + b"}", "1 lines are no JSON objects", "", ""),
        ({"id": True}, "1 lines hold no string", "id", "write a string, or null"),
        ({"id": 1.5}, "1 lines hold no string", "id", ""),
        ({"id": "2", "text": ["a"]}, "1 lines hold no string", "text", ""),
        ({"id": "2", "text": {"en": "a"}}, "1 lines hold no string", "text", ""),
        (b'{"id": "2", "text": NaN}', "1 lines hold no string", "text", ""),
        ({"id": "2", "image_paths": "a.png"}, "1 lines hold no list of strings", "image_paths", "a list of strings"),
        ({"id": "2", "image_paths": [1]}, "1 lines hold no list of strings", "image_paths", ""),
        ({"id": "2", "image_paths": [["a"]]}, "1 lines hold no list of strings", "image_paths", ""),
    ],
)  # fmt: skip
def test_mistake(tmp_path: Path, record: object, what: str, column: str, mend: str) -> None:
    smallest(tmp_path, ITEM, b"", record)
    with pytest.raises(CatalogError) as caught:
        check(readers.read(tmp_path, "auto"))
    error = caught.value
    assert error.what == what
    assert error.where == str(tmp_path / "items.jsonl") + (f", column {column}" if column else "")
    assert str(error.rows[0]).startswith("line 3: ")
    assert mend in error.mend


def test_all_bad_lines_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", 30)
    monkeypatch.setattr(lines, "SHOWN", 2)
    smallest(tmp_path, *[b"x"] * 50, ITEM)
    with pytest.raises(CatalogError, match="50 lines are no JSON objects") as caught:
        readers.read(tmp_path, "auto")
    assert caught.value.rows == ["line 1: 'x'", "line 2: 'x'"]


def test_no_column(tmp_path: Path) -> None:
    smallest(tmp_path, {"sku": "1", "text": "x", "image_paths": []})
    with pytest.raises(CatalogError, match="column 'id' is missing") as caught:
        check(readers.read(tmp_path, "auto"))
    assert caught.value.rows == ["has: text, image_paths, sku"]


def test_two_formats_in_one_folder(tmp_path: Path) -> None:
    (smallest(tmp_path, ITEM) / "train.csv").write_text("item_id,label_id\n")
    with pytest.raises(CatalogError, match="may be of 2 formats: csv, jsonl") as caught:
        readers.read(tmp_path, "auto")
    assert caught.value.mend == "keep the files of one, or name it: ingest.format"
    assert readers.read(tmp_path, "jsonl").tables["train"].height == 1
