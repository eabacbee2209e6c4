"""Ready-made image descriptors: vectors that a catalogue brings along, kept as raw_descriptors/image_vectors.npy.

image_vectors.npy   float16 or float32 [n_images, d], a row for each of images.arrow; `encode.image_backbone: given`
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from PIL import Image

from mufin_model.arrays import read_array
from mufin_model.catalog.distrust import in_words
from mufin_model.catalog.lines import refuse_no_file
from mufin_model.errors import CatalogError
from mufin_model.progress import track

FILE = "image_vectors.npy"
"""Of raw_descriptors."""
BLOCK = 4096
"""Vectors in memory at once."""
SIDE = 32
"""Of a pattern, in pixels."""

Vectors = npt.NDArray[np.floating]


@dataclass(frozen=True)
class ImageVectors:
    """Vectors of images, in .npy files [n, d]; an image path is "file name#row".

    Attributes:
        files: by name; all of one width d.
    """

    files: Mapping[str, Path]

    @staticmethod
    def paths(name: str, rows: pl.Series) -> pl.Series:
        """The image paths of rows of a file."""
        return f"{name}#" + rows.cast(pl.String)

    def write(self, file: Path, rows: Mapping[str, int], stored: int) -> int:
        """Copy the vectors in the order of stored images, in blocks.

        Args:
            file: the .npy file to write.
            rows: the stored image of each path; where several share one, the first's vector is taken.
            stored: images.

        Returns:
            the width d.

        Raises:
            CatalogError: a file is no array of floats [n, d], the widths differ, or a vector is not finite.
        """
        kinds = {name: open_vectors(path) for name, path in self.files.items()}
        widths = {name: array.shape[1] for name, array in kinds.items()}
        if len(set(widths.values())) != 1:
            raise CatalogError(
                "the image vectors are not of one width",
                where=str(next(iter(self.files.values())).parent),
                rows=[f"{name}: {width:,}" for name, width in widths.items()],
                mend="take the vectors of one model",
            )
        small = all(array.dtype.itemsize <= 2 for array in kinds.values())
        dtype, width = np.dtype("<f2" if small else "<f4"), next(iter(widths.values()))
        table = pl.DataFrame(
            {"path": list(rows), "row": list(rows.values())}, schema={"path": pl.String, "row": pl.UInt32}
        )
        table = (
            table.unique("row", keep="first")
            .sort("row")
            .with_columns(
                name=pl.col("path").str.replace(r"#\d+$", ""), at=pl.col("path").str.extract(r"#(\d+)$").cast(pl.Int64)
            )
        )
        with open(file, "wb") as out:
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (stored, width)}
            np.lib.format.write_array_header_1_0(out, header)
            for block in track(table.iter_slices(BLOCK), "vectors", total=-(-table.height // BLOCK)):
                out.write(self._gather(block, width, dtype).tobytes())
        return width

    def _gather(self, block: pl.DataFrame, width: int, dtype: np.dtype[np.floating]) -> Vectors:
        out = np.empty((block.height, width), dtype)
        for name in block["name"].unique(maintain_order=True):
            mine = (block["name"] == name).to_numpy()
            at = block["at"].to_numpy()[mine]
            # Opened for each block and let go: mapped pages count as memory in use.
            out[mine] = open_vectors(self.files[name])[at]
            bad = ~np.isfinite(out[mine]).all(axis=1)
            if bad.any():
                raise CatalogError(
                    f"image vectors are not finite (or too large for {dtype.name})",
                    where=str(self.files[name]),
                    rows=[f"row {row}" for row in at[bad]],
                    mend="compute these vectors anew, or leave their images out",
                )
        return out


class Patterns:
    """Images of which there are only vectors: each is a pattern of its own, so that none is taken for another."""

    def stream(self, paths: Iterable[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Each path with a function that draws its pattern, in the order given."""
        for number, path in enumerate(paths):
            yield path, partial(_pattern, number)


def given(folder: Path) -> Vectors | None:
    """The ready-made vectors of raw_descriptors [n_images, d], memory-mapped; None where its images are pictures.

    Raises:
        ArtefactError: the file is damaged.
    """
    file = folder / FILE
    return read_array(file, mmap=True) if file.is_file() else None


def unit_rows(vectors: Vectors, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """The vectors of some images, float32 [n, d], of length 1; a vector of zeros stays."""
    some = vectors[rows].astype(np.float32)
    return some / np.maximum(np.linalg.norm(some, axis=1, keepdims=True), 1e-12)


def write_unit(file: Path, vectors: Vectors) -> Vectors:
    """Write all vectors as float32 rows of length 1, in blocks; gives them back memory-mapped."""
    with open(file, "wb") as out:
        header = {"descr": "<f4", "fortran_order": False, "shape": vectors.shape}
        np.lib.format.write_array_header_1_0(out, header)
        for at in range(0, len(vectors), BLOCK):
            out.write(unit_rows(vectors, np.arange(at, min(at + BLOCK, len(vectors)))).tobytes())
    return read_array(file, mmap=True)


def open_vectors(file: Path) -> Vectors:
    """The vectors of a file, memory-mapped.

    Raises:
        CatalogError: it is no array of floats [n, d].
    """
    try:
        refuse_no_file(file)
        array: Vectors = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise CatalogError(f"{file.name} is missing", where=str(file), mend=f"add {file.name}") from error
    except Exception as error:  # a damaged header raises anything
        raise CatalogError(
            f"no readable array of numbers: {in_words(error)}",
            where=str(file),
            mend="write it with numpy.save",
        ) from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f" or not array.shape[1]:
        shape = getattr(array, "shape", "no shape")
        raise CatalogError(
            f"the array is {getattr(array, 'dtype', 'of no type')} {shape}, not floats [images, width]",
            where=str(file),
            mend="write one vector an image",
        )
    return array


def _pattern(number: int) -> bytes:
    # The bits of a golden-ratio multiple: neighbours differ in about half of the 64 cells.
    bits = (number + 1) * 0x9E3779B97F4A7C15 % 2**64
    cells = np.array([bits >> at & 1 for at in range(64)], np.uint8).reshape(8, 8) * 96 + 128
    out = io.BytesIO()
    Image.fromarray(cells).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(out, "PNG")
    return out.getvalue()
