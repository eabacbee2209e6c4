"""Pickles never run, and a few kilobytes never become gigabytes."""

from __future__ import annotations

import gzip
import io
import pickle
import resource
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from mufin_model.catalog import distrust, lines
from mufin_model.encoders.weights import load
from mufin_model.errors import CatalogError, MufinError

from .conftest import Tiny
from .hostile_pickles import array, arrays, plain, tensors
from .samples import lf, mm_amazon, polyvore
from .samples.content import Content

PICKLES = {".npy": array, ".npz": arrays, ".pt": tensors}


def test_the_pickles_are_live(tmp_path: Path) -> None:
    pickle.loads(plain(tmp_path / "plain"))
    np.load(io.BytesIO(array(tmp_path / "array")), allow_pickle=True)
    np.load(io.BytesIO(arrays(tmp_path / "arrays")), allow_pickle=True)["data"]
    torch.load(io.BytesIO(tensors(tmp_path / "tensors")), weights_only=False)
    assert {path.name for path in tmp_path.iterdir()} == {"plain", "array", "arrays", "tensors"}


WRITERS: dict[str, Callable[[Path], object]] = {
    "lf": lambda folder: (lf.write(folder, Content()), lf.write_vectors(folder, Content())),
    "mm_amazon": lambda folder: mm_amazon.write(folder, Content()),
    "polyvore": lambda folder: polyvore.write(folder, polyvore.Outfits()),
}


@pytest.mark.parametrize("name", WRITERS)
def test_no_file_of_a_catalogue_runs(tiny: Tiny, name: str) -> None:
    tiny.folder.parent.mkdir(parents=True)
    WRITERS[name](tiny.folder)
    mark = tiny.workspace.root / "ran"
    for file in sorted(path for path in tiny.folder.rglob("*") if path.is_file()):
        whole = file.read_bytes()
        for bomb in {plain, PICKLES.get(file.suffix, plain)}:
            file.write_bytes(bomb(mark))
            with suppress(MufinError):
                tiny.ingest("ingest.bad_images=drop")
            assert not mark.exists(), file.name
        file.write_bytes(whole)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_no_weights_run(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    for suffix in (".pt", ".pth", ".bin", ".safetensors"):
        file = tmp_path / f"weights{suffix}"
        for bomb in (plain, tensors):
            file.write_bytes(bomb(tmp_path / "ran"))
            with pytest.raises(MufinError) as caught:
                load(model, model, str(file), "a line")
            assert caught.value.where
            assert caught.value.mend
            assert not (tmp_path / "ran").exists()


def peak() -> int:
    """Bytes of memory that this process has taken at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def refused(tiny: Tiny, what: str | None, room: int) -> None:
    """Ingest refuses the catalogue, and takes no more than `room` bytes over what the process took before."""
    before = peak()
    with pytest.raises(CatalogError, match=what) as caught:
        tiny.ingest()
    assert caught.value.where
    assert caught.value.mend
    assert peak() - before < room


def test_gzip_bomb(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distrust, "BOMB_BYTES", 2**26)
    monkeypatch.setattr(lines, "BLOCK", 2**20)
    lf.write(tiny.folder, Content())
    record = b'{"uid": "x", "title": "x", "target_ind": []}'
    with gzip.open(tiny.folder / "trn.json.gz", "wb") as file:
        for _ in range(100):
            file.write((record + b" " * (2**20 - len(record) - 1)) + b"\n")
    refused(tiny, "unfold", 2**27)


def test_gzip_line_bomb(tiny: Tiny) -> None:
    lf.write(tiny.folder, Content())
    with gzip.open(tiny.folder / "trn.json.gz", "wb") as file:
        for _ in range(90):
            file.write(bytes(2**20))
    refused(tiny, "a line has more than", 3 * lines.MAX_LINE)


def test_npz_bomb(tiny: Tiny) -> None:
    mm_amazon.write(tiny.folder, Content())
    file = tiny.folder / "images" / "train.img.bin.npz"
    with zipfile.ZipFile(file) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    header = io.BytesIO()
    of = {"descr": "<i8", "fortran_order": False, "shape": (2**28,)}
    np.lib.format.write_array_header_1_0(header, of)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members.items():
            if name != "data.npy":
                packed.writestr(name, data)
        with packed.open("data.npy", "w", force_zip64=True) as out:
            out.write(header.getvalue())
            for _ in range(1100):
                out.write(bytes(2**20))
    refused(tiny, "unfold", 2**26)


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("shape", [(2**40, 16), (2**62, 2**62), (-1, 16), (0, 0)])
def test_arrays_that_promise_more_than_they_hold(tiny: Tiny, shape: tuple[int, int]) -> None:
    lf.write(tiny.folder, Content())
    lf.write_vectors(tiny.folder, Content())
    for name in (f"trn_embs_imgs_3_{lf.WIDTH}_siglip2.npy", "train_imgs_384_3_map.npy"):
        file = tiny.folder / name
        whole = file.read_bytes()
        kind = "<f4" if "embs" in name else "<i8"
        with open(file, "wb") as out:
            np.lib.format.write_array_header_1_0(out, {"descr": kind, "fortran_order": False, "shape": shape})
        refused(tiny, None, 2**26)
        file.write_bytes(whole)


class Nested:
    """A map of lists that refer to each other: written out they would be 2^60 numbers."""

    @staticmethod
    def bags() -> list[object]:
        bag: list[object] = [1]
        for _ in range(60):
            bag = [bag, bag]
        return [bag, *[-1] * 4]

    @staticmethod
    def shared() -> list[object]:
        return [[0] * 100_000] * 100_000


@pytest.mark.parametrize(("bags", "what"), [(Nested.bags, "not a list of whole numbers"), (Nested.shared, "unfold")])
def test_lists_that_refer_to_each_other(tiny: Tiny, bags: Callable[[], list[object]], what: str) -> None:
    lf.write(tiny.folder, Content())
    lf.write_vectors(tiny.folder, Content())
    content = bags()
    table = np.empty(len(content), object)
    for row, bag in enumerate(content):
        table[row] = bag
    np.save(tiny.folder / "train_imgs_384_3_map.npy", table, allow_pickle=True)
    refused(tiny, what, 2**27)
