"""The store of images: small square thumbnails in chunk files, memory-mapped, each image found by its row.

images/
  index.json        the thumbnails' side; name and rows of each chunk, in the order of the rows
  <name>.arrow      some tens of images; the name is a hash of what they hold

The sequence of images is cut by content: a chunk ends after an image whose hash ends in CUT_BITS zero bits. So
where images are added, removed or changed, only the chunks around them become others; all others keep their bytes and
their name, and whatever copies files by content (DVC) has them already. benchmarks/growth.py measures it.
"""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
from PIL import Image

from mufin_model.artefacts import read_json, write_json
from mufin_model.errors import ArtefactError, Unreadable, in_words

CUT_BITS = 4
LEAST, MOST = 8, 64
"""Images a chunk. With a cut after one image of 16, a chunk has 23 on average."""
OPEN = 4096
"""Chunks kept mapped; far below the 65,530 mappings that Linux grants a process."""
INDEX = "index.json"
SCHEMA = pa.schema([("bytes", pa.large_binary())])


def digest(data: bytes) -> bytes:
    """16 bytes that stand for the content."""
    return hashlib.blake2b(data, digest_size=16).digest()


def complete(length: int, last: bytes) -> bool:
    """Whether a chunk of `length` images ends after the one whose digest is `last`."""
    return length == MOST or (length >= LEAST and last[-1] & ((1 << CUT_BITS) - 1) == 0)


class ImageStore:
    """Thumbnails by row. Chunks are opened when asked for, and processes share their pages.

    Attributes:
        size: the thumbnails' side, in pixels.
        names: of the chunks, in the order of the rows.
        starts: the first row of each chunk and, at the end, the number of rows; int64 [chunks + 1].

    Raises:
        ArtefactError: the index is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            told = read_json(path / INDEX)
            self.size = int(told["image_size"])
            self.names = [str(name) for name, _ in told["chunks"]]
            rows = [int(count) for _, count in told["chunks"]]
        except ArtefactError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path / INDEX, error) from error
        self.starts = np.array([0, *itertools.accumulate(rows)], np.int64)
        self._chunk = lru_cache(OPEN)(self._open)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __reduce__(self) -> tuple[object, ...]:
        return ImageStore, (self.path,)

    def bytes(self, row: int) -> bytes:
        """The PNG or JPEG file of one image.

        Raises:
            IndexError: there is no such row.
            ArtefactError: its chunk is missing or damaged.
        """
        row = int(row)
        if not 0 <= row < len(self):
            raise IndexError(f"image {row} of {len(self)}")
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self._chunk(number)[row - int(self.starts[number])].as_py()

    def image(self, row: int) -> Image.Image:
        """One image, RGB, size x size.

        Raises:
            ArtefactError: its bytes are damaged.
        """
        try:
            return Image.open(io.BytesIO(self.bytes(row))).convert("RGB")
        except OSError as error:
            raise _damaged(self.path, error) from error

    def pixels(self, rows: Iterable[int]) -> np.ndarray:
        """Images as uint8 [n, 3, size, size]."""
        chosen = list(rows)
        out = np.empty((len(chosen), 3, self.size, self.size), np.uint8)
        for place, row in enumerate(chosen):
            out[place] = np.asarray(self.image(row)).transpose(2, 0, 1)
        return out

    def _open(self, number: int) -> pa.Array:
        file = self.path / f"{self.names[number]}.arrow"
        try:
            batch = pa.ipc.open_file(pa.memory_map(str(file))).get_batch(0)
            batch.validate(full=True)  # offsets that lead out of the file would be followed otherwise
        except (pa.ArrowException, OSError) as error:
            raise _damaged(file, error) from error
        if batch.schema != SCHEMA or batch.num_rows != self.starts[number + 1] - self.starts[number]:
            raise _damaged(file, Unreadable(f"it holds {batch.num_rows:,} images, {INDEX} tells of others"))
        return batch.column(0)


class ImageWriter:
    """Writes a store; use it as a context, which writes the index when it ends without an error.

    Args:
        path: the store's folder; made.
        size: side of the thumbnails, in pixels.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        self._rows: dict[bytes, int] = {}
        self._chunks: list[tuple[str, int]] = []
        self._waiting: list[bytes] = []
        path.mkdir()

    def __enter__(self) -> ImageWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is None:
            self._write()
            write_json(self.path / INDEX, {"image_size": self.size, "chunks": self._chunks})

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, data: bytes) -> int:
        """Append a thumbnail's PNG or JPEG file; equal ones share a row.

        Returns:
            its row.
        """
        content = digest(data)
        if content not in self._rows:
            self._rows[content] = len(self._rows)
            self._waiting.append(data)
            if complete(len(self._waiting), content):
                self._write()
        return self._rows[content]

    def _write(self) -> None:
        if not self._waiting:
            return
        name = digest(b"".join(digest(data) for data in self._waiting)).hex()
        batch = pa.record_batch([pa.array(self._waiting, pa.large_binary())], schema=SCHEMA)
        with pa.OSFile(str(self.path / f"{name}.arrow"), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
            writer.write_batch(batch)
        self._chunks.append((name, len(self._waiting)))
        self._waiting = []


def _damaged(path: Path, error: Exception) -> ArtefactError:
    return ArtefactError(f"cannot read the images: {in_words(error)}", where=str(path), mend="run ingest again")
