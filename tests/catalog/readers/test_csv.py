"""CSV and TSV as spreadsheets and shops export them: written, read back, spoilt."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from mufin_model.catalog import lines, readers
from mufin_model.catalog.readers import csv
from mufin_model.catalog.schema import check
from mufin_model.errors import CatalogError

from ..conftest import Tiny
from ..samples import csv as sample
from ..samples.content import Content, jpeg
from .conftest import expected, paths, recognised, told

SUFFIXES = [".csv", ".tsv", ".csv.gz", ".tsv.gz"]


@pytest.fixture
def content() -> Content:
    """With what only quotes can hold, and ids that are no numbers although they look so."""
    content = Content()
    content.titles["train"][:2] = ['A 6" chair,\nred; "oak"', "Tab\tin it"]
    content.titles["label"][0] = '"quoted"'
    content.uids["train"][:4] = ["007", "7", "1e3", " blank "]
    return content


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("mark", "block", "at_once"), [(False, 5, 2), (True, 10**6, 10**4)])
def test_round_trip(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch, suffix: str, mark: bool, block: int, at_once: int
) -> None:
    monkeypatch.setattr(lines, "BLOCK", block)
    monkeypatch.setattr(csv, "AT_ONCE", at_once)
    sample.write(tmp_path, content, suffix, mark)
    source = readers.read(tmp_path, "auto")
    assert told(source, content) == expected(content)
    assert source.tables["items"]["id"].to_list() == content.uids["train"] + content.uids["test"]
    assert check(source).items["image_paths"].to_list() == paths(content)
    assert dict(source.images.stream(["images/4.jpg"]))["images/4.jpg"]() == jpeg(4)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_only_this_reader_recognises_it(tmp_path: Path, content: Content, suffix: str) -> None:
    sample.write(tmp_path, content, suffix)
    assert recognised(tmp_path) == ["csv"]


def test_sample_is_written_as_described(tmp_path: Path, content: Content) -> None:
    sample.write(tmp_path, content, mark=True)
    written = (tmp_path / "items.csv").read_bytes().splitlines(keepends=True)
    assert written[:5] == [
        b"\xef\xbb\xbfid,text,image_paths,split\r\n",
        b'007,"A 6"" chair,\n',
        b'red; ""oak""",images/0.jpg,train\r\n',
        b"7,Tab\tin it,images/1.jpg;images/2.jpg;images/3.jpg,train\r\n",
        b"1e3,Caf\xc3\xa9 sign,,train\r\n",
    ]
    assert (tmp_path / "filter_test.csv").read_bytes() == b"\xef\xbb\xbfitem_id,label_id\r\nB01C,B00A\r\nB01B,B02E\r\n"


def test_ingest(tiny: Tiny, content: Content) -> None:
    sample.write(tiny.folder, content)
    catalog = tiny.ingest("ingest.validation_fraction=0")
    assert catalog.items["text"][0] == 'A 6" chair,\nred; "oak"'
    assert catalog.links("test").toarray().tolist() == [[0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]]
    assert len(catalog.images) == 12


def smallest(folder: Path, items: bytes = b"id,text,image_paths\np1,chair,\np2,,\n", name: str = "items.csv") -> Path:
    """The least that is a catalogue."""
    folder.mkdir(exist_ok=True)
    (folder / "labels.csv").write_text("text,id\nred,l1\n")
    (folder / "train.csv").write_text("item_id,label_id\np1,l1\n")
    (folder / "test.csv").write_text("item_id,label_id\np2,l1")
    (folder / name).write_bytes(items)
    return folder


def test_columns_in_any_order_further_ones_and_blank_lines(tmp_path: Path) -> None:
    items = b" price , image_paths,id,text\r\n\r\n3,  b/a.png ; ;c d.png;,p1,\r\n,,p2,lamp\r\n\n"
    source = readers.read(smallest(tmp_path, items), "csv")
    assert source.tables["items"].select("id", "text", "image_paths").rows() == [
        ("p1", None, ["b/a.png", "c d.png"]),
        ("p2", "lamp", None),
    ]
    assert check(source).labels.rows() == [("l1", "red", [], False)]


def test_a_text_of_megabytes(tmp_path: Path) -> None:
    text = b"word " * 10**5
    source = readers.read(smallest(tmp_path, b"id,text,image_paths\np1," + text + b',\np2,"' + text + b'",\n'), "csv")
    assert source.tables["items"]["text"].str.len_bytes().to_list() == [len(text)] * 2


def test_memory_is_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python holds at the peak does not grow with the file; the table itself is polars' and counts elsewhere."""
    monkeypatch.setattr(lines, "BLOCK", 2**14)
    monkeypatch.setattr(csv, "AT_ONCE", 100)
    peaks = []
    for rows in (5_000, 50_000):
        table = "".join(f"p{row},a title of some words,\n" for row in range(rows))
        smallest(tmp_path, b"id,text,image_paths\n" + table.encode())
        tracemalloc.start()
        assert csv._read_table("items", tmp_path / "items.csv", []).height == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]


@pytest.mark.parametrize(
    ("items", "what", "where", "row", "mend"),
    [
        (b"", "the file is empty", "", "", "begin it with a line of id, text, image_paths"),
        (b"\n \n", "is missing", ", column id", "has: ", "add the column 'id'"),
        (b"sku_id,text,image_paths\np1,,\n", "'id' is missing", ", column id", "has: ", "rename 'sku_id' to 'id'"),
        (b"id,text\np1,x\n", "'image_paths' is missing", ", column image_paths", "has: id, text", "add the column"),
        (b"id,text,id,image_paths\n", "column 'id' is there 2 times", ", line 1", "has: id, text, id", "keep one"),
        (b"id;text;image_paths\np1;a,b;\n", "not separated by ','", ", line 1", "'id;text;image", "by commas"),
        (b"id\ttext\timage_paths\np1\t\t\n", "not separated by ','", ", line 1", "'id\\ttext", "by tabs in a .tsv"),
        (
            b"id,text,image_paths\np1,chair, red,\np2,,\np3,\n",
            "1 lines have not the 3 fields", "", "line 2: 'p1,chair, red,'", "that hold the separator in quotes",
        ),
        (
            b'id,text,image_paths\np1,"a\nb",\np2,"6" nail",\n',
            "no readable row: a quote within quotes is not doubled", ", line 4", "", "double those within quotes",
        ),
        (b'id,text,image_paths\np1,,\np2,"open,\n\n', "no readable row: a quote is opened", ", line 3", "", "close"),
        ("id,text,image_paths\np1,Caf\xe9,\np2,Ż\n".encode() + b"p3,\xe9t\xe9,\n",
         "1 lines are not UTF-8", "", "line 4: 'p3,\xe9t\xe9,'", "as UTF-8"),
        ("id,text,image_paths\np1,ławka biała,\n".encode("cp1250"), "1 lines are not UTF-8", "", "line 2: ", "iconv"),
        ("id,text,image_paths\np1,красный стул,\n".encode("cp1251"), "1 lines are not UTF-8", "", "line 2: ", "iconv"),
        (b"id,text,image_paths\np1,a\rb,\n", "no readable row: a carriage return", ", line 2", "", "close each"),
        (b"p1,red oak chair,images/p1.jpg\np2,,\n", "first line names no columns", ", line 1", "has: p1", "id,text,im"),
        (b"id,text,image_paths\np1,chair\n", "fewer than the 3 fields", "", "line 2: 'p1,chair'", "write every"),
    ],
)  # fmt: skip
def test_mistake(tmp_path: Path, items: bytes, what: str, where: str, row: str, mend: str) -> None:
    smallest(tmp_path, items)
    with pytest.raises(CatalogError) as caught:
        check(readers.read(tmp_path, "auto"))
    error = caught.value
    assert what in error.what
    assert error.where == f"{tmp_path / 'items.csv'}{where}"
    assert (str(error.rows[0]) if error.rows else "").startswith(row)
    assert mend in error.mend


def test_two_files_of_one_table(tmp_path: Path) -> None:
    smallest(tmp_path, b"id\ttext\timage_paths\n", "items.tsv")
    smallest(tmp_path)
    with pytest.raises(CatalogError, match="2 files of the table items") as caught:
        readers.read(tmp_path, "auto")
    assert caught.value.rows == ["items.csv", "items.tsv"]


def test_misnamed(tmp_path: Path) -> None:
    (smallest(tmp_path) / "labels.csv").rename(tmp_path / "label.csv")
    with pytest.raises(CatalogError, match=r"labels\.csv is missing") as caught:
        readers.read(tmp_path, "auto")
    assert caught.value.mend == "rename 'label.csv' to 'labels.csv'"


def test_a_path_that_leads_out(tmp_path: Path) -> None:
    smallest(tmp_path, b"id,text,image_paths\np1,,a.png;../b.png\np2,,\n")
    with pytest.raises(CatalogError, match="1 rows have image paths outside") as caught:
        readers.read(tmp_path, "auto")
    assert caught.value.rows == ["row 0: id='p1', image_paths=['a.png', '../b.png']"]
