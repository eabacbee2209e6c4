"""Files that a stranger may have made: read without following them out of the folder, without hanging, without a panic.

docs/bad-input.md lists what becomes of each kind of bad input.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mufin_model.errors import CatalogError, Unreadable, in_words

__all__ = ["Unreadable", "in_words"]

MAX_IMAGE_BYTES = 256 * 2**20
"""Larger image files are refused unread."""
BOMB_BYTES, BOMB_RATIO = 2**30, 200
"""A file that unfolds to more than both (bytes, times its own size) is refused; text rarely passes 20 times."""

DAMAGED = (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError, ValueError)
"""What polars and pyarrow raise for damaged files; polars' panics are no `Exception`."""


@contextmanager
def reading(file: Path | str, kind: str = "Parquet") -> Iterator[None]:
    """Turn whatever a damaged table raises into one error that names it.

    Raises:
        CatalogError: the block raised one of DAMAGED.
    """
    try:
        yield
    except DAMAGED as error:
        raise CatalogError(
            f"no readable {kind} file: {in_words(error)}",
            where=str(file),
            mend=f"write it again, as {kind}",
        ) from error


def open_parquet(file: Path) -> pq.ParquetFile:
    """Open a Parquet file, its metadata read and nothing else.

    Raises:
        CatalogError: it is no Parquet, or a few kilobytes that unfold into gigabytes.
    """
    with reading(file):
        opened = pq.ParquetFile(file)
        meta = opened.metadata
        unfolded = sum(meta.row_group(group).total_byte_size for group in range(meta.num_row_groups))
        size = file.stat().st_size
    try:
        refuse_bomb(file, size, unfolded)
    except CatalogError:
        opened.close()
        raise
    return opened


def refuse_bomb(file: Path, size: int, unfolded: int) -> None:
    """Refuse a packed file that unfolds as no honest one does.

    Args:
        file: for the error.
        size: its bytes.
        unfolded: bytes that it unfolds into, or those unfolded so far.

    Raises:
        CatalogError: they are too many.
    """
    if unfolded > BOMB_BYTES and unfolded > BOMB_RATIO * size:
        raise CatalogError(
            f"{size:,} bytes that unfold into {unfolded:,}: no honest table shrinks so far",
            where=str(file),
            mend="write it again, or split its repetitions into several files",
        )


def read_inside(folder: Path, path: str) -> bytes:
    """The bytes of a regular file below a folder.

    Raises:
        OSError: it is missing, lies outside (by its name or through a link), is a folder, a device or a pipe,
            or has more than MAX_IMAGE_BYTES.
    """
    if "\0" in path:
        raise Unreadable("its name holds a NUL")
    root = os.path.realpath(folder)
    real = os.path.realpath(os.path.join(root, path))
    if os.path.commonpath([root, real]) != root:
        raise Unreadable("leads out of the catalogue")
    # Without O_NONBLOCK, opening a pipe would wait for a writer for ever.
    handle = os.open(real, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise Unreadable("is a folder")
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("is no regular file")
        if status.st_size > MAX_IMAGE_BYTES:
            raise Unreadable(f"{status.st_size:,} bytes are too many")
        with open(handle, "rb", closefd=False) as opened:
            return opened.read(MAX_IMAGE_BYTES)
    finally:
        os.close(handle)


def survey(folder: Path) -> None:
    """Refuse a folder that cannot be copied safely.

    Raises:
        CatalogError: something below it is a link out of it or to nothing, a device or a pipe.
    """
    root = os.path.realpath(folder)
    bad: list[str] = []
    for here, folders, files in os.walk(root):
        for name in sorted(folders + files):
            path = os.path.join(here, name)
            shown, real = os.path.relpath(path, root), os.path.realpath(path)
            if os.path.commonpath([root, real]) != root:
                bad.append(f"{shown}: leads out of the catalogue")
            elif not os.path.exists(real):
                bad.append(f"{shown}: a link to nothing")
            elif not os.path.isdir(real) and not os.path.isfile(real):
                bad.append(f"{shown}: is no regular file")
            elif os.path.islink(path) and os.path.isdir(real) and _holds(real, path):
                bad.append(f"{shown}: a link to a folder that holds it")
    if bad:
        raise CatalogError(
            f"{len(bad):,} entries are no files of the catalogue",
            where=str(folder),
            rows=bad,
            mend="put the files themselves in their place (cp -L), or remove them",
        )


def _holds(folder: str, path: str) -> bool:
    return os.path.commonpath([folder, os.path.realpath(os.path.dirname(path))]) == folder
