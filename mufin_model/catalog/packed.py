"""Images packed into Parquet: the columns path and bytes, in images.parquet or in a folder of that name.

    split(Path("raw/images.parquet"), Path("data/shop/catalog/images.parquet"))

makes the one file a folder of small ones, cut by content as the image store is: a version that adds images then
shares all but a few files with the version before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mufin_model.catalog.distrust import Unreadable, open_parquet, reading
from mufin_model.catalog.image_store import complete, digest
from mufin_model.catalog.schema import nearest, offending
from mufin_model.errors import CatalogError

FILE = "images.parquet"
AT_ONCE = 256
"""Images in memory at once."""
SCHEMA = pa.schema([("path", pa.string()), ("bytes", pa.binary())])


class PackedImages:
    """Images in Parquet with the columns path and bytes, one file or a folder of them; never in memory as a whole.

    Raises:
        CatalogError: a column is missing, of a wrong type, or a path is given twice.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.parts = sorted(file.glob("*.parquet")) if file.is_dir() else [file]
        if not self.parts:
            raise CatalogError("no Parquet file in it", where=str(file), mend="add one, or remove the folder")
        for part in self.parts:
            _check_columns(part)
        with reading(file):
            paths = pl.concat([pl.read_parquet(part, columns=["path"]) for part in self.parts])
        if paths["path"].n_unique() < paths.height:
            raise CatalogError(
                "image paths occur more than once",
                where=f"{file}, column path",
                rows=offending(paths, paths["path"].is_duplicated(), "path"),
                mend="keep one row for each path",
            )

    def stream(self, paths: Iterable[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Each path with a function that gives its bytes: those found in the file's order, then the missing ones."""
        wanted = dict.fromkeys(paths)
        for part in self.parts:
            for batch in _batches(part):
                for path, data in zip(batch["path"].to_pylist(), batch["bytes"], strict=True):
                    if path in wanted:
                        del wanted[path]
                        yield path, partial(_bytes, data)
        for path in wanted:
            yield path, partial(_absent, self.file)


def split(file: Path, folder: Path) -> None:
    """Write a packed file's images as part-00000.parquet and so on, in its order; other columns are left out.

    Raises:
        CatalogError: the file is damaged.
    """
    folder.mkdir()
    paths: list[str] = []
    contents: list[bytes] = []
    number = 0

    def write() -> None:
        nonlocal number
        table = pa.table([pa.array(paths, pa.string()), pa.array(contents, pa.binary())], schema=SCHEMA)
        # Pictures are compressed already; a dictionary or statistics of them only take room.
        part = folder / f"part-{number:05d}.parquet"
        pq.write_table(table, part, compression="none", use_dictionary=False, write_statistics=False)
        number += 1
        paths.clear()
        contents.clear()

    for batch in _batches(file):
        for path, data in zip(batch["path"].to_pylist(), batch["bytes"], strict=True):
            paths.append(path)
            contents.append(data.as_py())
            if complete(len(paths), digest(contents[-1] or b"")):
                write()
    if paths or not number:
        write()


def _check_columns(file: Path) -> None:
    with open_parquet(file) as parquet:
        schema = parquet.schema_arrow
    for column, fits in (("path", _is_text), ("bytes", _is_binary)):
        where = f"{file}, column {column}"
        if column not in schema.names:
            near = nearest(column, schema.names)
            raise CatalogError(
                f"column {column!r} is missing",
                where=where,
                rows=[f"has: {', '.join(schema.names)}"],
                mend=f"rename {near!r} to {column!r}" if near else f"add the column {column!r}",
            )
        if not fits(schema.field(column).type):
            raise CatalogError(
                f"column {column!r} holds {schema.field(column).type}",
                where=where,
                mend="write path as strings and bytes as binary",
            )


def _batches(file: Path) -> Iterator[pa.RecordBatch]:
    with open_parquet(file) as parquet:
        batches = parquet.iter_batches(batch_size=AT_ONCE, columns=["path", "bytes"])
        while True:
            with reading(file):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _bytes(data: pa.Scalar) -> bytes:
    value = data.as_py()
    if value is None:
        raise Unreadable("no bytes")
    return value


def _absent(file: Path) -> bytes:
    raise FileNotFoundError(f"not in {file.name}")
