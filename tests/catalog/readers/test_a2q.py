"""Advertisements to queries: labels are texts alone, told apart by their words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mufin_model.catalog import lines, readers
from mufin_model.catalog.schema import check
from mufin_model.errors import CatalogError, ImageError

from ..conftest import Tiny
from ..samples import a2q as sample
from ..samples.a2q import Log
from ..samples.content import jpeg
from .conftest import recognised


@pytest.mark.parametrize(("packed", "counted", "block"), [(False, True, 5), (True, True, 10**6), (True, False, 40)])
def test_round_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool, counted: bool, block: int) -> None:
    monkeypatch.setattr(lines, "BLOCK", block)
    log = Log()
    sample.write(tmp_path, log, packed, counted)
    source = readers.read(tmp_path, "auto")
    tables = check(source)
    assert source.tables["items"].rows() == [
        (ad, title, [f"images/{number}.jpg" for number in numbers]) for ad, title, numbers in log.ads
    ]
    assert source.tables["labels"].rows() == [
        ("oak chair", "Oak Chair"),
        ("cheap chairs", "cheap chairs"),
        ("neon sign", "neon sign"),
        ("lamps", "LAMPS"),
    ]
    assert source.tables["zeroshot_labels"].rows() == [("dining table", "dining table"), ("\u706f", "\u706f")]
    want = [
        *((0, 0, "train"), (0, 1, "train"), (1, 2, "train"), (2, 0, "train"), (3, 3, "train")),
        *((4, 0, "test"), (4, 4, "zero_shot"), (5, 4, "zero_shot"), (5, 5, "zero_shot")),
    ]
    assert tables.links.rows() == want
    assert tables.duplicate_links == 1
    assert tables.items["split"].to_list() == ["train"] * 4 + ["test"] * 2
    assert tables.labels["image_paths"].list.len().sum() == 0
    assert dict(source.images.stream(["images/4.jpg"]))["images/4.jpg"]() == jpeg(4)


def test_only_this_reader_recognises_it(tmp_path: Path) -> None:
    sample.write(tmp_path / "plain", Log())
    sample.write(tmp_path / "packed", Log(), packed=True)
    assert recognised(tmp_path / "plain") == recognised(tmp_path / "packed") == ["a2q"]


def test_ingest(tiny: Tiny) -> None:
    sample.write(tiny.folder, Log())
    catalog = tiny.ingest("ingest.validation_fraction=0")
    summary = json.loads((catalog.folder / "summary.json").read_text())
    assert (summary["items"], summary["seen_labels"], summary["zero_shot_labels"]) == (6, 4, 2)
    assert (summary["images"], summary["labels_without_images"]) == (5, 6)


def test_columns_in_any_order(tmp_path: Path) -> None:
    sample.write(tmp_path, Log())
    text = "\ufefftitle\tprice\tad_id\r\nChair\t3\tA/1\r\nLamp\t4\tA/2\r\n"
    (tmp_path / "ads.tsv").write_bytes(text.encode())
    with pytest.raises(CatalogError, match="'images' is missing"):
        readers.read(tmp_path, "a2q")
    (tmp_path / "ads.tsv").write_bytes(text.replace("price", "images").replace("3", "").encode())
    assert readers.read(tmp_path, "a2q").tables["items"].rows() == [("A/1", "Chair", []), ("A/2", "Lamp", ["4"])]


def replaced(file: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        data = (folder / file).read_bytes()
        assert old in data
        (folder / file).write_bytes(data.replace(old, new, 1))

    return spoil


TRAIN, TEST, ADS = "clicks_train.tsv", "clicks_test.tsv", "ads.tsv"
MISTAKES: dict[str, tuple[Callable[[Path], None], str, str, str]] = {
    # name: (spoil, what, where, row)
    "no ads": (lambda f: (f / ADS).unlink(), "ads.tsv is missing", ADS, ""),
    "no clicks": (lambda f: (f / TEST).unlink(), "clicks_test.tsv is missing", TEST, ""),
    "empty": (lambda f: (f / ADS).write_bytes(b"") and None, "the file is empty", ADS, ""),
    "no header": (replaced(TRAIN, b"ad_id\tquery\tclicks\n", b""), "'ad_id' is missing", "line 1", "has: A/1"),
    "misspelt": (replaced(TRAIN, b"query", b"Query"), "'query' is missing", "line 1", "has: ad_id, Query"),
    "too few fields": (replaced(TRAIN, b"A/2\tneon sign", b"A/2"), "1 lines are not the 3 fields", TRAIN, "line 5"),
    "tab in a title": (replaced(ADS, b"Brass lamp", b"Brass\tlamp"), "1 lines are not the 3", ADS, "line 5: 'A/4"),
    "blank line": (replaced(ADS, b"A/4", b"\nA/4"), "1 lines are not the 3", ADS, "line 5: ''"),
    "latin-1": (replaced(ADS, b"Caf\xc3\xa9", b"Caf\xe9"), "in UTF-8", ADS, "line 3: 'A/2\\tCaf"),
    "no query": (replaced(TEST, b"oak chair", b" "), "1 lines have no query", TEST, "line 2"),
    "clicks a word": (replaced(TEST, b"\t4\n", b"\tmany\n"), "no whole number", TEST, "line 3"),
    "clicks negative": (replaced(TEST, b"\t4\n", b"\t-4\n"), "no whole number", TEST, "line 3"),
    "clicks in other digits": (replaced(TEST, b"\t4\n", "\t\u0664\n".encode()), "no whole number", TEST, "line 3"),
    "unknown ad": (replaced(TRAIN, b"A/2", b"A/9"), "unknown item ids", TRAIN, "item_id='A/9'"),
    "ad twice": (replaced(ADS, b"A/2", b"A/1"), "1 ids occur more than once", ADS, "id='A/1'"),
    "ad in both": (replaced(TEST, b"A/5", b"A/1"), "test items have links in the train", TRAIN, "id='A/1'"),
    "query of direction marks": (replaced(TRAIN, b"neon", "\u202eneon".encode()), "direction marks", TRAIN, "neon"),
    "query too long": (replaced(TRAIN, b"neon", b"n" * 2000), "more than 1,000 characters", TRAIN, "nnn"),
    "no test clicks": (lambda f: (f / TEST).write_bytes(b"ad_id\tquery\n") and None, "test split is empty", TEST, ""),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(tmp_path: Path, name: str) -> None:
    sample.write(tmp_path, Log())
    spoil, what, where, row = MISTAKES[name]
    spoil(tmp_path)
    with pytest.raises(CatalogError) as raised:
        check(readers.read(tmp_path, "a2q"))
    error = raised.value
    assert what in error.what
    assert where in error.where
    assert row in "\n".join(map(str, error.rows))
    assert error.mend


def test_a_gzip_cut_short(tmp_path: Path) -> None:
    sample.write(tmp_path, Log(), packed=True)
    file = tmp_path / "clicks_test.tsv.gz"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(CatalogError, match="breaks off or is damaged"):
        readers.read(tmp_path, "auto")


def test_an_image_outside_reads_nothing(tiny: Tiny) -> None:
    sample.write(tiny.folder, Log())
    (tiny.folder.parent / "secret.jpg").write_bytes(jpeg(1))
    replaced(ADS, b"images/2.jpg", b"../secret.jpg")(tiny.folder)
    with pytest.raises(ImageError, match="leads out of the catalogue"):
        tiny.ingest()
