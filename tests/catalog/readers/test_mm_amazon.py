"""MM-AmazonTitles-300K's layout: titles in latin-1, images by their byte offsets plus one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csc_matrix, load_npz, save_npz

from mufin_model.catalog import image_lines, readers
from mufin_model.catalog.image_lines import read_offsets
from mufin_model.catalog.images import thumbnail
from mufin_model.errors import CatalogError, ImageError

from ..conftest import Tiny
from ..samples import mm_amazon as sample
from ..samples.content import Content, jpeg
from .conftest import expected, recognised, told

MATRIX = "images/{}.img.bin.npz"


def pictures(source: readers.Source) -> list[list[bytes]]:
    """The images of each row, items first; the stream has been read to its end before any is decoded."""
    tables = [source.tables[name]["image_paths"].to_list() for name in ("items", "labels")]
    paths = [row for table in tables for row in table]
    load = dict(list(source.images.stream({path for row in paths for path in row})))
    return [[load[path]() for path in row] for row in paths]


def test_round_trip(tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_lines, "CHUNK", 500)
    sample.write(tmp_path, content)
    source = readers.read(tmp_path, "auto")
    assert told(source, content) == expected(content)
    assert source.tables["items"]["id"].to_list() == content.uids["train"] + content.uids["test"]
    images = [numbers for rows in content.images.values() for numbers in rows]
    for found, numbers in zip(pictures(source), images, strict=True):
        assert sorted(found) == sorted(jpeg(number) for number in numbers)


def test_images_of_a_row_come_in_the_order_of_the_file(tmp_path: Path, content: Content) -> None:
    sample.write(tmp_path, content)
    paths = readers.read(tmp_path, "mm_amazon").tables["items"]["image_paths"]
    offsets = [[int(path.split("@")[1]) for path in row] for row in paths]
    assert all(row == sorted(row) for row in offsets)
    # Byte 0 is an image like any other: the matrix holds it as 1.
    assert any(0 in row for row in offsets)
    assert load_npz(tmp_path / MATRIX.format("train")).data.min() == 1


def test_only_this_reader_recognises_it(tmp_path: Path, content: Content) -> None:
    sample.write(tmp_path, content)
    assert recognised(tmp_path) == ["mm_amazon"]


def test_ingest(tiny: Tiny, content: Content) -> None:
    sample.write(tiny.folder, content)
    catalog = tiny.ingest("ingest.validation_fraction=0")
    summary = json.loads((catalog.folder / "summary.json").read_text())
    assert (summary["items"], summary["labels"], summary["images"], summary["filters"]) == (8, 4, 12, 3)
    assert catalog.items["text"].to_list() == [
        *(
            "Red oak chair",
            "Vase -> teal",
            "Caf\xe9 sign",
            "Next line feed",
            "",
            "Oak_table",
            "\xa0Gold leaf \xbd",
            "Lamp",
        )
    ]
    assert catalog.links("test").toarray().tolist() == [[0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]]
    (row,) = catalog.items["images"][3].to_list()
    want = np.asarray(thumbnail(jpeg(4), 16), np.int64)
    assert np.abs(catalog.images.pixels([row])[0].transpose(1, 2, 0) - want).max() < 40
    assert catalog.items["images"][0].to_list() == catalog.labels["images"][0].to_list()


def spoil(folder: Path, side: str, **changes: object) -> None:
    file = folder / MATRIX.format(side)
    matrix = load_npz(file)
    for name, value in changes.items():
        setattr(matrix, name, value)
    save_npz(file, matrix)


def test_zeros_are_missing_images_and_decimals_will_do(tmp_path: Path, content: Content) -> None:
    sample.write(tmp_path, content)
    matrix = load_npz(tmp_path / MATRIX.format("train"))
    values = matrix.data.astype(np.float64)
    values[[1, 4]] = 0
    spoil(tmp_path, "train", data=values)
    bounds, offsets = read_offsets(tmp_path / MATRIX.format("train"), 5)
    assert np.diff(bounds).tolist() == [1, 2, 0, 0, 1]
    assert (offsets == np.concatenate([[values[0]], sorted(values[2:4]), [values[5]]]) - 1).all()


def damage(folder: Path, name: str) -> None:
    """Spoil a sample in one way."""
    file, images = folder / MATRIX.format("test"), folder / "images" / "img.bin"
    match name:
        case "matrix missing":
            file.unlink()
        case "images missing":
            images.unlink()
        case "no zip":
            file.write_bytes(b"0 1 2")
        case "cut short":
            file.write_bytes(file.read_bytes()[:-40])
        case "pickle":
            np.savez(file, format=np.array("csr", object), data=np.array([{}], object))
        case "columns first":
            save_npz(file, csc_matrix(load_npz(file)))
        case "other height":
            file.write_bytes((folder / MATRIX.format("train")).read_bytes())
        case "no offsets":
            spoil(folder, "test", data=np.array([1.5, 2, 3]))
        case "negative":
            spoil(folder, "test", data=np.array([-1, 2, 3]))
        case "one off":
            spoil(folder, "test", data=load_npz(file).data + 1)
        case "past the end":
            spoil(folder, "test", data=load_npz(file).data + 10**9)
        case "other items":
            spoil(folder, "test", data=load_npz(file).data[::-1].copy())
        case "bounds":
            arrays = dict(np.load(file))
            np.savez(file, **(arrays | {"indptr": np.array([0, 3, 1, 3])}))


MISTAKES = {
    # name: (what, file, row)
    "matrix missing": ("is missing", "test.img.bin.npz", ""),
    "images missing": ("img.bin is missing", "img.bin", ""),
    "no zip": ("no readable sparse matrix", "test.img.bin.npz", ""),
    "cut short": ("no readable sparse matrix", "test.img.bin.npz", ""),
    "pickle": ("no readable sparse matrix", "test.img.bin.npz", ""),
    "columns first": ("not csr", "test.img.bin.npz", ""),
    "other height": ("images for 5 rows, but 3 lines", "test.img.bin.npz", ""),
    "no offsets": ("1 values are no byte offsets", "test.img.bin.npz", "row 0: 1.5"),
    "negative": ("1 values are no byte offsets", "test.img.bin.npz", "row 0: -1.0"),
    "one off": ("not those of their rows", "test.img.bin.npz", "row 0, 'B01A': byte"),
    "past the end": ("not those of their rows", "test.img.bin.npz", "no line begins there"),
    "other items": ("not those of their rows", "test.img.bin.npz", "the image of 'B01C'"),
    "bounds": ("row bounds do not fit", "test.img.bin.npz", ""),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(tmp_path: Path, content: Content, name: str) -> None:
    sample.write(tmp_path, content)
    damage(tmp_path, name)
    what, file, row = MISTAKES[name]
    with pytest.raises(CatalogError) as raised:
        readers.read(tmp_path, "mm_amazon")
    assert what in raised.value.what
    assert file in raised.value.where
    assert row in "\n".join(map(str, raised.value.rows))
    assert raised.value.mend


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"\t", b"\t@@", "base64"),
        (b"\t", b"  ", "is not UID, tab and image"),
        (b"\t/9j/", b"\t////", "no image of a known kind"),
    ],
)
def test_bad_lines_are_bad_images(tiny: Tiny, content: Content, old: bytes, new: bytes, reason: str) -> None:
    # The UIDs of a few images are looked at in reading; the rest tells itself in decoding.
    sample.write(tiny.folder, content)
    file = tiny.folder / "images" / "img.bin"
    lines = file.read_bytes().split(b"\n")
    at = next(number for number, line in enumerate(lines) if line.startswith(b"B00E\t"))
    width = len(lines[at])
    lines[at] = lines[at].replace(old, new, 1)[:width].ljust(width, b"=")
    file.write_bytes(b"\n".join(lines))
    with pytest.raises((ImageError, CatalogError)) as raised:
        tiny.ingest("ingest.validation_fraction=0")
    assert "B00E" in str(raised.value)
    if isinstance(raised.value, ImageError):
        assert reason.lower() in str(raised.value).lower()


def test_img_bin_cut_short(tiny: Tiny, content: Content) -> None:
    sample.write(tiny.folder, content)
    file = tiny.folder / "images" / "img.bin"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ImageError, match="1 images are missing or do not decode") as raised:
        tiny.ingest("ingest.validation_fraction=0")
    assert "may be cut short" in str(raised.value)
