"""The repository's text format: written, read back, spoilt."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mufin_model.catalog import lines, readers, sparse_text
from mufin_model.errors import CatalogError

from ..samples import xc as sample
from ..samples.content import Content
from .conftest import expected, recognised, told


@pytest.mark.parametrize("uids", [True, False])
def test_round_trip(tmp_path: Path, content: Content, uids: bool) -> None:
    sample.write(tmp_path, content, uids)
    source = readers.read(tmp_path, "auto")
    assert told(source, content) == expected(content)
    ids = source.tables["items"]["id"].to_list()
    every = content.uids["train"] + content.uids["test"]
    assert ids == (every if uids else [f"train:{n}" for n in range(5)] + [f"test:{n}" for n in range(3)])


def test_only_this_reader_recognises_it(tmp_path: Path, content: Content) -> None:
    sample.write(tmp_path, content)
    assert recognised(tmp_path) == ["xc"]


def test_sample_is_written_as_described(tmp_path: Path, content: Content) -> None:
    sample.write(tmp_path, content)
    assert (tmp_path / "trn_X_Y.txt").read_bytes() == b"5 4\n0:1.0 2:1.0\n1:1.0\n\n0:1.0 1:1.0 2:1.0 3:1.0\n\n"
    assert (tmp_path / "filter_labels_test.txt").read_bytes() == b"2 0\n1 3\n"
    titles = (tmp_path / "raw_data" / "train.raw.txt").read_bytes()
    assert titles.split(b"\n")[1:3] == [b"B00B,B00C->Vase -> teal", b"B00D->Caf\xe9 sign"]


def test_tiny_blocks_give_the_same(tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    sample.write(tmp_path, content)
    monkeypatch.setattr(lines, "BLOCK", 7)
    assert told(readers.read(tmp_path, "xc"), content) == expected(content)


def test_dialects(tmp_path: Path, content: Content) -> None:
    """Windows line ends, zeros, no last line feed, filters as numpy.savetxt writes them, no filters."""
    sample.write(tmp_path, content)
    matrix = tmp_path / "trn_X_Y.txt"
    matrix.write_bytes(matrix.read_bytes().replace(b"\n", b"\r\n").replace(b"1:1.0\r", b"1:1.0  3:0.0 \r"))
    np.savetxt(tmp_path / "filter_labels_train.txt", np.array(content.filters["train"]), header="item label")
    file = tmp_path / "raw_data" / "test.raw.txt"
    file.write_bytes(file.read_bytes().rstrip(b"\n"))
    assert told(readers.read(tmp_path, "xc"), content) == expected(content)
    for split in ("train", "test"):
        (tmp_path / f"filter_labels_{split}.txt").unlink()
    assert "filter_test" not in readers.read(tmp_path, "xc").tables
    (tmp_path / "filter_labels_test.txt").write_bytes(b"")
    assert readers.read(tmp_path, "xc").tables["filter_test"].is_empty()


def test_repeated_uids_stay_rows_of_their_own(tmp_path: Path, content: Content) -> None:
    content.uids["test"][1] = content.uids["train"][0]
    content.uids["train"][3] = content.uids["train"][0]
    sample.write(tmp_path, content)
    source = readers.read(tmp_path, "xc")
    assert told(source, content) == expected(content)
    assert source.tables["items"]["id"].to_list()[3::3] == ["B00A#2", "B00A#3"]


def test_very_long_uids_are_shortened(tmp_path: Path, content: Content) -> None:
    content.uids["train"][1] = ",".join(["B00B"] * 400)
    content.uids["train"][2] = content.uids["train"][1] + "X"
    sample.write(tmp_path, content)
    assert told(readers.read(tmp_path, "xc"), content) == expected(content)


MISTAKES = {
    # name: (file, old, new, what, row, mend)
    "matrix missing": ("tst_X_Y.txt", None, None, "tst_X_Y.txt is missing", "", "add tst_X_Y.txt"),
    "titles missing": ("raw_data/label.raw.txt", None, None, "label.raw.txt is missing", "", "add label.raw.txt"),
    "matrix empty": ("trn_X_Y.txt", b"*", b"", "is empty", "", "rows columns"),
    "bag of words": ("trn_X_Y.txt", b"5 4\n", b"5 900 4\n", "bag-of-words", "line 1: '5 900 4'", "raw text"),
    "no header": ("trn_X_Y.txt", b"5 4\n", b"", "the header is not", "line 1: '0:1.0 2:1.0'", "586781"),
    "absurd header": ("trn_X_Y.txt", b"5 4\n", b"5 99999999999\n", "the header is not", "line 1", ""),
    "cut short": ("trn_X_Y.txt", b"1:1.0 2:1.0 3:1.0\n\n", b"1:1.0\n", "ends after 4 rows of 5", "", "again"),
    "too many rows": ("trn_X_Y.txt", b"\n\n0:", b"\n\n\n0:", "more rows than the 5", "line 7: ''", "first number"),
    "no value": ("trn_X_Y.txt", b"2:1.0\n1:1.0", b"2:1.0\n1", 'not "column:value"', "line 3: '1'", ""),
    "words": ("trn_X_Y.txt", b"\n1:1.0\n", b"\nchair:1.0\n", 'not "column:value"', "line 3: 'chair:1.0'", ""),
    "not finite": ("trn_X_Y.txt", b"\n1:1.0\n", b"\n1:nan\n", 'not "column:value"', "line 3: '1:nan'", ""),
    "negative": ("trn_X_Y.txt", b"\n1:1.0\n", b"\n-1:1.0\n", 'not "column:value"', "line 3: '-1:1.0'", ""),
    "column too far": ("tst_X_Y.txt", b"3:1.0", b"4:1.0", "past the last of 4", "line 2: '4:1.0'", "second number"),
    "rows do not fit": ("raw_data/train.raw.txt", b"B00F->\n", b"", "5 rows and 4 columns", "train.raw.txt: 4", "one"),
    "no arrow": ("raw_data/test.raw.txt", b"B01B->", b"B01B ", "lines are not", "line 2: 'B01B", "->"),
    "no uid": ("raw_data/label.raw.txt", b"B02B->", b" ->", "lines are not", "line 2: ' ->Cut", ""),
    "filter of words": ("filter_labels_test.txt", b"2 0", b"a b", "no pairs", "line 1: 'a b'", ""),
    "filter of one": ("filter_labels_test.txt", b"1 3", b"1", "no pairs", "line 2: '1'", ""),
    "filter of three": ("filter_labels_test.txt", b"1 3", b"1 3 5", "no pairs", "line 2: '1 3 5'", ""),
    "filter between rows": ("filter_labels_test.txt", b"1 3", b"1.5 3", "no pairs", "line 2: '1.5 3'", ""),
    "filter outside": ("filter_labels_test.txt", b"1 3", b"3 3", "1 pairs are outside the 3 test", "3 3", "from 0"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(tmp_path: Path, content: Content, name: str) -> None:
    sample.write(tmp_path, content)
    file, old, new, what, row, mend = MISTAKES[name]
    path = tmp_path / file
    if old is None:
        path.unlink()
    else:
        data = path.read_bytes()
        assert old == b"*" or old in data
        path.write_bytes(new if old == b"*" else data.replace(old, new, 1))
    with pytest.raises(CatalogError) as raised:
        readers.read(tmp_path, "xc")
    text = str(raised.value)
    assert what in raised.value.what
    assert Path(file).name in text
    assert row in "\n".join(map(str, raised.value.rows))
    assert mend in raised.value.mend


def test_a_folder_without_titles_says_what_to_add(tmp_path: Path, content: Content) -> None:
    sample.write_matrix(tmp_path / "trn_X_Y.txt", content.links["train"], 4)
    with pytest.raises(CatalogError, match="titles are missing"):
        readers.read(tmp_path, "auto")


def test_endless_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", 64)
    monkeypatch.setattr(lines, "MAX_LINE", 256)
    (tmp_path / "m.txt").write_bytes(b"1 1\n" + b"0" * 1000)
    with pytest.raises(CatalogError, match="a line has more than 256 bytes"):
        sparse_text.read_matrix(tmp_path / "m.txt")


@pytest.mark.parametrize("file", ["trn_X_Y.txt", "raw_data/train.raw.txt"])
def test_a_pipe_is_no_file(tmp_path: Path, content: Content, file: str) -> None:
    # To open one would wait for a writer for ever.
    sample.write(tmp_path, content)
    (tmp_path / file).unlink()
    os.mkfifo(tmp_path / file)
    with pytest.raises(CatalogError, match="is missing"):
        readers.read(tmp_path, "xc")
