"""The LF sets: gzipped JSON, with ViXML's image vectors or without."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from mufin_model import config
from mufin_model.catalog import lines, readers, vectors, vixml
from mufin_model.catalog.readers import lf
from mufin_model.encoders import encode
from mufin_model.encoders.image import ImageEncoder
from mufin_model.encoders.picture_features import item_features
from mufin_model.errors import CatalogError, SettingError

from ..conftest import Tiny
from ..samples import lf as sample
from ..samples import xc as xc_sample
from ..samples.content import Content
from .conftest import expected, recognised, told


@pytest.mark.parametrize("contents", [False, True])
def test_round_trip(tmp_path: Path, content: Content, contents: bool) -> None:
    sample.write(tmp_path, content, contents)
    source = readers.read(tmp_path, "auto")
    texts = {
        side: [(f"{title.strip()} In oak." if contents else title).strip() for title in titles]
        for side, titles in content.titles.items()
    }
    assert told(source, content) == expected(content, texts)
    assert source.tables["labels"]["id"].to_list() == content.uids["label"]
    assert source.vectors is None


def test_only_this_reader_recognises_it(tmp_path: Path, content: Content) -> None:
    sample.write(tmp_path, content)
    (tmp_path / "trn_X_Y.txt").touch()  # as ViXML's preparation leaves it beside the JSON
    assert recognised(tmp_path) == ["lf"]


def rewrite(file: Path, line: int, change: object) -> None:
    """Replace a line (from 1) by bytes, or update its record by a dict; a key of None is removed."""
    with gzip.open(file, "rb") as opened:
        records = opened.read().splitlines(keepends=True)
    if isinstance(change, dict):
        record = json.loads(records[line - 1]) | change
        change = json.dumps({key: value for key, value in record.items() if value is not Ellipsis}).encode()
    records[line - 1] = bytes(change) + b"\n"  # type: ignore[call-overload]
    with gzip.open(file, "wb") as out:
        out.write(b"".join(records))


def test_dialects(tmp_path: Path, content: Content) -> None:
    """UIDs as numbers or none, a lone surrogate, labels of no relevance, no relevance at all, very long texts."""
    sample.write(tmp_path, content)
    rewrite(tmp_path / "trn.json.gz", 1, {"uid": 17, "target_ind": [0, 1, 2], "target_rel": [1, 0.0, 0.5]})
    rewrite(tmp_path / "trn.json.gz", 2, {"uid": None, "title": "\ud800x", "content": ..., "target_rel": ...})
    rewrite(tmp_path / "trn.json.gz", 3, {"content": "word " * 10_000})
    items = readers.read(tmp_path, "lf").tables["items"]
    assert items["id"].to_list()[:2] == ["17", "train:1"]
    assert items["text"][1] == "?x"
    assert items["text"].str.len_chars()[2] == lf.MAX_CHARS
    assert readers.read(tmp_path, "lf").tables["train"]["label_id"].to_list()[:3] == ["B00A", "B02C,B02D", "B02B"]


MISTAKES = {
    # name: (file, line, change, what, mend)
    "no json": ("trn.json.gz", 2, b"{'uid': 1}", "lines are no records", "mend these lines"),
    "no object": ("lbl.json.gz", 2, b"[1]", "not list", ""),
    "blank": ("tst.json.gz", 2, b"", "one is blank", ""),
    "not utf-8": ("tst.json.gz", 2, b'{"title": "Caf\xe9"}', "in no encoding", ""),
    "no labels": ("trn.json.gz", 2, {"target_ind": ...}, "target_ind is missing", ""),
    "label past the last": (
        "tst.json.gz",
        2,
        {"target_ind": [4]},
        "target_ind 4 is no line of lbl.json.gz (0 to 3)",
        "",
    ),
    "negative label": ("tst.json.gz", 2, {"target_ind": [-1]}, "target_ind -1", ""),
    "label a truth value": ("tst.json.gz", 2, {"target_ind": [True]}, "target_ind True", ""),
    "label a decimal": ("tst.json.gz", 2, {"target_ind": [1.0]}, "target_ind 1.0", ""),
    "relevance of another length": ("trn.json.gz", 2, {"target_rel": [1, 1]}, "as long as target_ind", ""),
    "relevance of text": ("trn.json.gz", 2, {"target_rel": ["1"]}, "no number", ""),
    "title a number": ("trn.json.gz", 2, {"title": 5}, "title and content are not text", ""),
    "no text": ("lbl.json.gz", 2, {"title": ..., "content": ...}, "title and content are not text", ""),
    "uid a list": ("trn.json.gz", 2, {"uid": [1]}, "uid is neither", ""),
    "endless nesting": ("trn.json.gz", 2, b"[" * 200_000, "nested too deep", ""),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(tmp_path: Path, content: Content, name: str) -> None:
    sample.write(tmp_path, content)
    file, line, change, what, mend = MISTAKES[name]
    rewrite(tmp_path / file, line, change)
    with pytest.raises(CatalogError) as raised:
        readers.read(tmp_path, "lf")
    assert what in raised.value.what
    assert raised.value.where.endswith(file)
    assert str(raised.value.rows[0]).startswith(f"line {line}: ")
    assert mend in raised.value.mend


def test_mistakes_past_the_first_block_tell_their_line(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample.write(tmp_path, content)
    rewrite(tmp_path / "trn.json.gz", 4, b"x")
    monkeypatch.setattr(lines, "BLOCK", 50)
    with pytest.raises(CatalogError) as raised:
        readers.read(tmp_path, "lf")
    assert raised.value.rows == ["line 4: 'x'"]


@pytest.mark.parametrize(("file", "missing"), [("trn.json.gz", False), ("lbl.json.gz", False), ("tst.json.gz", True)])
def test_missing_and_damaged_files(tmp_path: Path, content: Content, file: str, missing: bool) -> None:
    sample.write(tmp_path, content)
    path = tmp_path / file
    data = path.read_bytes()
    path.unlink() if missing else path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CatalogError, match="is missing" if missing else "breaks off or is damaged") as raised:
        readers.read(tmp_path, "lf")
    assert file in raised.value.where
    if not missing:
        path.write_bytes(b"no gzip")
        with pytest.raises(CatalogError, match="breaks off or is damaged"):
            readers.read(tmp_path, "lf")


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("layout", ["lf", "xc"])
def test_vectors_reach_encode(
    tiny: Tiny, content: Content, layout: str, lists: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "BLOCK", 3)
    sample.write(tiny.folder, content) if layout == "lf" else xc_sample.write(tiny.folder, content, uids=False)
    arrays = sample.write_vectors(tiny.folder, content, lists)
    overrides = ["ingest.validation_fraction=0", "encode.image_backbone=given"]
    catalog = tiny.ingest(*overrides)
    encode.run(tiny.workspace, "demo", config.load(tiny.workspace.params, "demo", overrides))
    folder = tiny.workspace.read("demo", "encoder_embeddings")
    encoded = np.load(folder / "image.npy")
    kept = np.load(catalog.folder / vectors.FILE)
    assert kept.dtype == encoded.dtype == np.float32
    assert kept.shape == encoded.shape == (13, sample.WIDTH)
    np.testing.assert_allclose(np.linalg.norm(encoded, axis=1), 1, atol=1e-6)
    for side, table in (("train", catalog.items[:5]), ("test", catalog.items[5:]), ("label", catalog.labels)):
        at = 0
        for images, numbers in zip(table["images"], content.images[side], strict=True):
            want = arrays[side][at : at + len(numbers)]
            at += len(numbers)
            assert (kept[images.to_list()] == want).all()
            unit = want / np.linalg.norm(want, axis=1, keepdims=True)
            np.testing.assert_allclose(encoded[images.to_list()], unit, atol=1e-6)
    # What no picture shows cannot be tuned on.
    assert json.loads((folder / "meta.json").read_text())["random_weights"]["image"] is False


def test_vectors_are_the_picture_features_too(tiny: Tiny, content: Content) -> None:
    sample.write(tiny.folder, content)
    arrays = sample.write_vectors(tiny.folder, content)
    catalog = tiny.ingest("ingest.validation_fraction=0")
    found, has = item_features(catalog)
    assert has.tolist() == [bool(row) for side in ("train", "test") for row in content.images[side]]
    unit = arrays["train"][1:4] / np.linalg.norm(arrays["train"][1:4], axis=1, keepdims=True)
    np.testing.assert_allclose(found[1], unit.mean(0), atol=1e-6)
    assert not found[2].any()


def test_no_picture_is_encoded_where_vectors_are_given() -> None:
    with pytest.raises(SettingError, match="nothing can encode or tune on pictures"):
        ImageEncoder("given", "none", 16)(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
    with pytest.raises(SettingError):
        ImageEncoder("given+handmade", "none", 16)


def test_vectors_must_be_asked_for_and_be_there(tiny: Tiny, content: Content) -> None:
    sample.write(tiny.folder, content)
    tiny.ingest("ingest.validation_fraction=0")
    for backbone in ("given", "handmade"):
        settings = config.load(tiny.workspace.params, "demo", [f"encode.image_backbone={backbone}"])
        with pytest.raises(SettingError) as raised:
            encode.run(tiny.workspace, "demo", settings)
        assert raised.value.where == "encode.image_backbone"
        sample.write_vectors(tiny.folder, content)
        tiny.ingest("ingest.validation_fraction=0")


def put(name: str, array: np.ndarray) -> object:
    return lambda folder: np.save(folder / name, array, allow_pickle=array.dtype.hasobject)


class Bomb:
    """Were it unpickled, a file would appear."""

    def __reduce__(self) -> tuple[object, ...]:
        return open, ("unpickled", "w")


LISTS = np.empty(3, object)
LISTS[:] = [[0], -1, ["1"]]
VECTORS, MAP = f"tst_embs_imgs_3_{sample.WIDTH}_siglip2.npy", "test_imgs_384_3_map.npy"
SPOILT = {
    # name: (spoil, what, file)
    "map missing": (lambda folder: (folder / MAP).unlink(), "0 files test_imgs_*_map.npy", ""),
    "two models": (put("tst_embs_imgs_1_8_clip.npy", np.zeros((3, 8), np.float32)), "2 files tst_embs", ""),
    "map of another height": (put(MAP, np.array([[0], [1]])), "2 rows, but 3", MAP),
    "map past the end": (put(MAP, np.array([[0], [3], [1]])), "1 images are past the last of 3", MAP),
    "map of decimals": (put(MAP, np.zeros((3, 1))), "no readable map", MAP),
    "map of words": (put(MAP, LISTS), "row 2 holds ['1']", MAP),
    "map that runs code": (put(MAP, np.array([Bomb(), 1, 2], object)), "which no list of numbers needs", MAP),
    "map cut short": (
        lambda folder: (folder / MAP).write_bytes((folder / MAP).read_bytes()[:-30]),
        "no readable map",
        MAP,
    ),
    "vectors of whole numbers": (put(VECTORS, np.zeros((3, 16), int)), "not floats [images, width]", VECTORS),
    "vectors of objects": (put(VECTORS, np.array([Bomb()], object)), "no readable array", VECTORS),
    "vectors cut short": (lambda folder: (folder / VECTORS).write_bytes(b"\x93NUMPY"), "no readable array", VECTORS),
    "another width": (put(VECTORS, np.ones((3, 8), np.float32)), "not of one width", ""),
    "not finite": (put(VECTORS, np.full((3, 16), np.nan, np.float32)), "not finite", VECTORS),
}


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_vectors(tiny: Tiny, content: Content, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny.workspace.root)
    sample.write(tiny.folder, content)
    sample.write_vectors(tiny.folder, content)
    spoil, what, file = SPOILT[name]
    spoil(tiny.folder)  # type: ignore[operator]
    with pytest.raises(CatalogError) as raised:
        tiny.ingest("ingest.validation_fraction=0")
    assert what in raised.value.what
    assert raised.value.where.endswith(file)
    assert not Path("unpickled").exists()


def test_a_thousand_lists_come_out_of_the_array_of_objects(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = np.empty(2500, object)  # pickles take a thousand elements at a time
    table[:] = [rng.integers(0, 10**6, size).tolist() if size else -1 for size in rng.integers(0, 4, 2500)]
    table[7] = None
    np.save(tmp_path / "map.npy", table, allow_pickle=True)
    bounds, rows = vixml.read_map(tmp_path / "map.npy")
    want = [bag if isinstance(bag, list) else [] for bag in table]
    assert [rows[a:b].tolist() for a, b in itertools.pairwise(bounds)] == want


def test_patterns_differ(tmp_path: Path) -> None:
    paths = pl.Series([f"v.npy#{row}" for row in range(500)])
    drawn = {load() for _, load in vectors.Patterns().stream(paths)}
    assert len(drawn) == 500
