"""Ways to spoil a catalogue.

A case spoils the tiny catalogue of conftest. What it gets is an error (its kind, `what` and, of images, the reason)
or, where `got` begins with ACCEPTED, a rule, which `seen` holds against the catalogue that ingest leaves.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.lines import BLOCK, MAX_LINE

from .conftest import Tiny

ACCEPTED = "accepted: "
Spoil = Callable[[Tiny], None]
Check = Callable[[Catalog], bool]


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        spoil: called with the tiny catalogue already on disk, images as files.
        got: see the module.
        seen: of an accepted one, whether the catalogue is as the rule says.
    """

    theme: str
    name: str
    spoil: Spoil
    got: str
    seen: Check = lambda catalog: catalog.items.height == 10


def table(name: str, **columns: object) -> Spoil:
    """Write a table again with other columns."""

    def spoil(tiny: Tiny) -> None:
        tiny.tables[name].with_columns(**columns).write_parquet(tiny.folder / f"{name}.parquet")

    return spoil


def whole(name: str, frame: Callable[[pl.DataFrame], pl.DataFrame]) -> Spoil:
    """Write another table in its place."""

    def spoil(tiny: Tiny) -> None:
        frame(tiny.tables[name]).write_parquet(tiny.folder / f"{name}.parquet")

    return spoil


def bytes_of(name: str, change: Callable[[bytes], bytes]) -> Spoil:
    """Change a table's file."""

    def spoil(tiny: Tiny) -> None:
        file = tiny.folder / f"{name}.parquet"
        file.write_bytes(change(file.read_bytes()))

    return spoil


def as_text(suffix: str, write: Callable[[pl.DataFrame, Path], object], tiny: Tiny) -> None:
    """The catalogue's tables written by `write` in place of Parquet."""
    for name, frame in tiny.tables.items():
        (tiny.folder / f"{name}.parquet").unlink()
        write(frame, tiny.folder / f"{name}{suffix}")


def csv(change: Callable[[bytes], bytes], *names: str, packed: bool = False) -> Spoil:
    """The catalogue as CSV, the files of some tables changed; these gzipped where `packed`, before the change."""

    def write(frame: pl.DataFrame, file: Path) -> None:
        lists = [column for column, dtype in frame.schema.items() if dtype == pl.List(pl.String)]
        frame.with_columns(pl.col(lists).list.join(";")).write_csv(file)

    def spoil(tiny: Tiny) -> None:
        as_text(".csv", write, tiny)
        for name in names or ("items",):
            file = tiny.folder / f"{name}.csv"
            data = file.read_bytes()
            if packed:
                file.unlink()
                file, data = file.with_suffix(".csv.gz"), gzip.compress(data)
            file.write_bytes(change(data))

    return spoil


def jsonl(change: Callable[[bytes], bytes], name: str = "items") -> Spoil:
    """The catalogue as JSON Lines, one table's file changed."""

    def spoil(tiny: Tiny) -> None:
        as_text(".jsonl", pl.DataFrame.write_ndjson, tiny)
        file = tiny.folder / f"{name}.jsonl"
        file.write_bytes(change(file.read_bytes()))

    return spoil


def spark(tiny: Tiny) -> None:
    """items.csv as a folder of two parts, each with its own first line, and what lies beside them."""
    csv(bytes)(tiny)
    file = tiny.folder / "items.csv"
    head, *rows = file.read_text().splitlines(keepends=True)
    file.unlink()
    file.mkdir()
    (file / "_SUCCESS").touch()
    (file / ".part-00000-7e.csv.crc").write_bytes(b"crc")
    (file / "part-00000-7e.c000.csv").write_text(head + "".join(rows[:4]))
    (file / "part-00001-7e.c000.csv").write_text(head + "".join(rows[4:]))


def beside(name: str) -> Spoil:
    """A further file in the folder."""
    return lambda tiny: (tiny.folder / name).write_bytes(b"id")  # type: ignore[return-value]


def long_line(data: bytes) -> bytes:
    """Some kilobytes of gzip in which a line is longer than any is read."""
    return gzip.compress(bytes(MAX_LINE + 2 * BLOCK))


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """The bytes with the first `old`, which must be there, as `new`."""

    def change(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new, 1)

    return change


def arrow(name: str, make: Callable[[pa.Table], pa.Table], **options: object) -> Spoil:
    """Write a table again through Arrow, which can what polars cannot."""

    def spoil(tiny: Tiny) -> None:
        pq.write_table(make(tiny.tables[name].to_arrow()), tiny.folder / f"{name}.parquet", **options)

    return spoil


def first(column: str, value: str) -> pl.Expr:
    """The column with its first value replaced."""
    return pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(value)).otherwise(column).alias(column)


def renamed(old: str, new: str) -> Spoil:
    """Item `old` with another id, in the links too."""

    def spoil(tiny: Tiny) -> None:
        for name, column in (("items", "id"), ("train", "item_id"), ("test", "item_id"), ("filter_train", "item_id")):
            changed = pl.col(column).replace({old: new})
            tiny.tables[name].with_columns(changed).write_parquet(tiny.folder / f"{name}.parquet")

    return spoil


def title(text: str) -> Spoil:
    return table("items", text=first("text", text))


def shows(text: str) -> Check:
    return lambda catalog: catalog.items["text"][0] == text


def path(value: str, make: Callable[[Path], None] = lambda at: None) -> Spoil:
    """The first item's image path; `make` puts something at it."""

    def spoil(tiny: Tiny) -> None:
        paths = [[value]] + [[]] * 9
        tiny.tables["items"].with_columns(image_paths=pl.Series(paths, dtype=pl.List(pl.String))).write_parquet(
            tiny.folder / "items.parquet"
        )
        make(tiny.folder / value)

    return spoil


def link(target: str) -> Callable[[Path], None]:
    """A symbolic link; the workspace's own root holds `secret.png`, outside the catalogue."""

    def make(at: Path) -> None:
        (at.parents[3] / "secret.png").write_bytes((at.parent / "i1.png").read_bytes())
        at.symlink_to(target)

    return make


def swapped(data: bytes) -> Spoil:
    """The first item's image with other bytes."""

    def spoil(tiny: Tiny) -> None:
        (tiny.folder / "images" / "i0.png").write_bytes(data)

    return spoil


def in_place(make: Callable[[Path], None]) -> Spoil:
    """Something that is no file in the place of items.parquet."""

    def spoil(tiny: Tiny) -> None:
        (tiny.folder / "items.parquet").unlink()
        make(tiny.folder / "items.parquet")

    return spoil


def emptied(*names: str) -> Spoil:
    """Tables without rows."""

    def spoil(tiny: Tiny) -> None:
        for name in names:
            whole(name, lambda frame: frame.head(0))(tiny)

    return spoil


def many_links(tiny: Tiny) -> None:
    """A million links to one label, all but eight of them twice and more."""
    ids = pl.Series([f"i{row}" for row in range(8)] * 125_000)
    frame = pl.DataFrame({"item_id": ids, "label_id": pl.repeat("a", len(ids), eager=True)})
    frame.write_parquet(tiny.folder / "train.parquet")


def bomb(tiny: Tiny) -> None:
    """Some kilobytes of Parquet that stand for more than a gigabyte of text."""
    chunk = pa.table({"id": ["i0"], "text": [" " * 2**26]})
    file = tiny.folder / "items.parquet"
    with pq.ParquetWriter(file, chunk.schema, compression="zstd", use_dictionary=False, write_statistics=False) as out:
        for _ in range(17):
            out.write_table(chunk)


def dictionary(tiny: Tiny, schema: bool) -> None:
    """One text of a megabyte, which a dictionary lets stand for twenty thousand; read as categories or strings."""
    of = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), pa.array(["x" * 2**20]))
    ids = pa.array([f"l{row}" for row in range(20_000)])
    pq.write_table(pa.table({"id": ids, "text": of}), tiny.folder / "labels.parquet", store_schema=schema)


def invalid(column: pa.ChunkedArray) -> pa.Array:
    """Strings of the same offsets whose first byte is no UTF-8."""
    array = pa.concat_arrays(column.cast(pa.string()).chunks)
    data = bytearray(array.buffers()[2].to_pybytes())
    data[0] = 0xFF
    return pa.Array.from_buffers(pa.string(), len(array), [None, array.buffers()[1], pa.py_buffer(bytes(data))])


def put(table: pa.Table, name: str, column: object) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def nulls(name: str, *columns: str) -> Spoil:
    return table(name, **{column: pl.lit(None) for column in columns})
