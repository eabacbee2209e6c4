"""Images as lines of one file, img.bin ("UID<tab>base64"), found by their byte offsets in a sparse matrix beside it.

images/train.img.bin.npz   scipy CSR [items, image slots]: the offset of the image's line, plus one
"""

from __future__ import annotations

import base64
import binascii
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from io import FileIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from mufin_model.catalog.columns import IMAGES
from mufin_model.catalog.distrust import MAX_IMAGE_BYTES, Unreadable, in_words, refuse_bomb
from mufin_model.catalog.lines import refuse_no_file
from mufin_model.errors import CatalogError

CHUNK = 64 * 2**10
"""Bytes read at once; a 128-pixel JPEG takes some five thousand."""
MAX_LINE = MAX_IMAGE_BYTES * 4 // 3 + 2**16
PROBED = 1000
"""Images of each side whose UIDs are held against the items'."""


class ImageLines:
    """Images by the byte offset of their line; a path is "img.bin@offset"."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def path(self, offsets: pl.Series) -> pl.Series:
        """The paths of byte offsets [n]."""
        return f"{self.file.name}@" + offsets.cast(pl.String)

    def stream(self, paths: Iterable[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Each path with a function that decodes its line, in the order of the file."""
        # Closed with the last function: they may be called after the stream has ended.
        opened = open(self.file, "rb", buffering=0)  # noqa: SIM115
        for path in sorted(paths, key=_offset):
            yield path, partial(self._load, opened, _offset(path))

    def uid(self, offset: int) -> str | None:
        """The UID of the line that begins at an offset; None where none begins there."""
        try:
            with open(self.file, "rb", buffering=0) as opened:
                return self._line(opened, offset, uid_only=True).decode("latin-1")
        except OSError:
            return None

    def _load(self, opened: FileIO, offset: int) -> bytes:
        try:
            return base64.b64decode(self._line(opened, offset), validate=True)
        except binascii.Error as error:
            raise Unreadable(f"the line of {self.file.name} at byte {offset:,} is no base64") from error

    def _line(self, opened: FileIO, offset: int, uid_only: bool = False) -> bytes:
        """What follows the tab of a line, or the UID before it; read by position, as many threads share the file.

        Raises:
            OSError: no line begins there, or it holds no tab, or it has no end.
        """
        handle = opened.fileno()
        if offset and os.pread(handle, 1, offset - 1) != b"\n":
            raise Unreadable(f"no line of {self.file.name} begins at byte {offset:,}")
        parts, at, end = [], offset, -1
        while end < 0 and at - offset < MAX_LINE:
            data = os.pread(handle, CHUNK, at)
            if not data:
                break
            end = data.find(b"\n")
            parts.append(data if end < 0 else data[:end])
            at += len(data)
            if uid_only:
                break
        uid, tab, rest = b"".join(parts).partition(b"\t")
        if not tab:
            raise Unreadable(f"the line of {self.file.name} at byte {offset:,} is not UID, tab and image")
        if uid_only:
            return uid
        if end < 0:
            raise Unreadable(f"the line of {self.file.name} at byte {offset:,} has no end: the file may be cut short")
        return rest.rstrip(b"\r")


def read_offsets(file: Path, rows: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The images of each row, in the order of the file.

    Args:
        file: a matrix as scipy.sparse.save_npz writes it.
        rows: how many it must have.

    Returns:
        (bounds int64 [rows + 1], byte offsets int64 [nnz]); values of 0 are missing images and left out.

    Raises:
        CatalogError: the file is no such matrix, or of another height.
    """
    try:
        refuse_no_file(file)
        with zipfile.ZipFile(file) as packed:  # which unpacks no more of a member than it is told to hold
            refuse_bomb(file, file.stat().st_size, sum(member.file_size for member in packed.infolist()))
        with np.load(file, allow_pickle=False) as matrix:
            kind = bytes(matrix["format"].item()) if matrix["format"].dtype.kind == "S" else matrix["format"].item()
            bounds, values = matrix["indptr"].astype(np.int64), matrix["data"].astype(np.float64)
            height = int(matrix["shape"][0])
            columns = matrix["indices"].astype(np.int64)
    except FileNotFoundError as error:
        raise CatalogError(f"{file.name} is missing", where=str(file), mend=f"add {file.name}") from error
    except CatalogError:
        raise
    except Exception as error:  # a damaged header raises anything
        raise _no_matrix(file, in_words(error)) from error
    if kind not in (b"csr", "csr"):
        raise _no_matrix(file, f"its format is {kind!r}, not csr")
    if any(array.ndim != 1 for array in (bounds, values, columns)) or height < 0:
        raise _no_matrix(file, "its arrays are not of one dimension")
    if len(bounds) != height + 1 or bounds[0] != 0 or bounds[-1] != len(values) or (np.diff(bounds) < 0).any():
        raise _no_matrix(file, "its row bounds do not fit its values")
    if len(columns) != len(values):
        raise _no_matrix(file, "it has not as many columns as values")
    if height != rows:
        raise CatalogError(
            f"there are images for {height:,} rows, but {rows:,} lines of text",
            where=str(file),
            mend="take the files of one download",
        )
    whole = np.isfinite(values) & (values >= 0) & (values == np.floor(values))
    if not whole.all():
        at = np.flatnonzero(~whole)
        raise CatalogError(
            f"{len(at):,} values are no byte offsets plus one",
            where=str(file),
            rows=[f"row {np.searchsorted(bounds, i, 'right') - 1}: {values[i]}" for i in at[:1000]],
            mend="make the file again",
        )
    owner = np.repeat(np.arange(rows), np.diff(bounds))
    kept = values > 0
    owner, offsets = owner[kept], values[kept].astype(np.int64) - 1
    order = np.lexsort((offsets, owner))
    return np.searchsorted(owner, np.arange(rows + 1)), offsets[order]


def image_paths(images: ImageLines, file: Path, ids: pl.Series) -> pl.Series:
    """The image paths of each row: list[str] [len(ids)].

    Args:
        images: the lines.
        file: the matrix of offsets.
        ids: the rows' UIDs, several of one row joined by commas.

    Raises:
        CatalogError: the matrix is damaged, or leads to other items' images.
    """
    bounds, offsets = read_offsets(file, len(ids))
    _probe(images, file, ids, bounds, offsets)
    table = pl.DataFrame(
        {"row": np.repeat(np.arange(len(ids)), np.diff(bounds)), "path": images.path(pl.Series(offsets))}
    )
    bags = table.group_by("row", maintain_order=True).agg("path")
    rows = pl.DataFrame({"row": np.arange(len(ids))}).join(bags, on="row", how="left", maintain_order="left")
    return rows["path"].fill_null([]).cast(IMAGES).alias("image_paths")


def _probe(
    images: ImageLines, file: Path, ids: pl.Series, bounds: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]
) -> None:
    """Hold some images' UIDs, evenly spread, against their items': a matrix of another img.bin gives wrong pictures."""
    size = images.file.stat().st_size
    beyond = np.flatnonzero(offsets >= size)
    some = np.unique(np.linspace(0, len(offsets) - 1, min(len(offsets), PROBED)).astype(np.int64))
    bad = []
    for at in [*beyond[:PROBED], *some]:
        row = int(np.searchsorted(bounds, at, "right") - 1)
        uid = images.uid(int(offsets[at]))
        if uid is None or uid not in (ids[row], *ids[row].split(",")):
            found = "no line begins there" if uid is None else f"the image of {uid!r}"
            bad.append(f"row {row}, {ids[row]!r:.80}: byte {offsets[at]:,}: {found}")
    if bad:
        raise CatalogError(
            f"{len(bad):,} of {len(some) + len(beyond):,} images looked at are not those of their rows",
            where=str(file),
            rows=bad,
            mend=f"take {file.name} and {images.file.name} of one download",
        )


def _offset(path: str) -> int:
    return int(path.rpartition("@")[2])


def _no_matrix(file: Path, reason: str) -> CatalogError:
    return CatalogError(
        f"no readable sparse matrix: {reason[:300]}",
        where=str(file),
        mend="write it with scipy.sparse.save_npz, as CSR",
    )
