"""Arrays of vectors and files of weights reduced to what the rules ask, in blocks: they may be larger than memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from mufin_dagster.quality.frames import Source
from mufin_model.arrays import read_array

BLOCK = 8_000_000
"""Values read at once: 64 MB in eight bytes each."""

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Kinds of numbers in a .safetensors file that may be infinite."""

BF16_EXPONENT = 0x7F80
"""Bits that are all ones in an infinite bfloat16 and in a NaN."""


@dataclass(frozen=True)
class Summary:
    """One pass over an array [n, d]."""

    norm: np.ndarray
    """Length of each row, float64 [n]; 0 where a value is not finite."""
    not_finite: np.ndarray
    """Values of each row that are NaN or infinite, int64 [n]."""
    mean: np.ndarray
    """Of the non-zero finite rows, float64 [d]."""
    variance: float
    """Mean squared distance of those from their mean; 1 where fewer than two are there. Of unit vectors, 1 minus
    this is the mean cosine of two of them."""
    rank: float
    """Directions in which they vary, by the participation ratio of the covariance's eigenvalues: (sum)^2 / sum of
    squares, from 1 (a line) to d; d where fewer than two are there."""


def blocks(array: np.ndarray, values: int = BLOCK) -> Iterator[slice]:
    """Slices that cut an array [n, d] into runs of rows of about so many values."""
    step = max(1, values // max(1, array.shape[1]))
    return (slice(at, at + step) for at in range(0, len(array), step))


def summarize(array: np.ndarray, values: int = BLOCK) -> Summary:
    """Reduce an array [n, d] to what the rules ask, about so many values at a time."""
    n, d = array.shape
    norm, not_finite = np.zeros(n), np.zeros(n, dtype=np.int64)
    total, used, products = np.zeros(d), 0, np.zeros((d, d))
    for part in blocks(array, values):
        rows = np.asarray(array[part], dtype=np.float64)
        bad = (~np.isfinite(rows)).sum(axis=1)
        # A NaN norm would be skipped as a null; a length of 0 is found by the rule on lengths too.
        lengths = np.where(bad == 0, np.sqrt(np.einsum("nd,nd->n", rows, rows)), 0.0)
        norm[part], not_finite[part] = lengths, bad
        kept = rows[lengths > 0]
        total += kept.sum(axis=0)
        products += kept.T @ kept
        used += len(kept)
    mean = total / max(1, used)
    if used < 2:
        return Summary(norm, not_finite, mean, 1.0, float(d))
    covariance = products / used - np.outer(mean, mean)
    variance, squares = float(np.trace(covariance)), float((covariance**2).sum())
    return Summary(norm, not_finite, mean, variance, variance**2 / squares if squares else 1.0)


def summary(source: Source, noun: str, file: str) -> Summary:
    """`summarize` of an array of an artefact, once."""
    path = source.folder(noun) / file
    return source.once(path, lambda: summarize(read_array(path, mmap=True)))


def vectors(found: Summary, owners: pl.DataFrame | None = None) -> pl.DataFrame:
    """One row a vector: row, the columns of `owners` where given, norm, not_finite.

    Rows beyond the shorter of the two are for a rule about lengths to report.
    """
    frame = pl.DataFrame({"norm": found.norm, "not_finite": found.not_finite}).with_row_index("row")
    if owners is None:
        return frame
    n = min(frame.height, owners.height)
    return pl.concat([frame.head(n), owners.head(n)], how="horizontal")


def centrality(array: np.ndarray) -> np.ndarray:
    """Cosine of each row of an array [n, d] with the mean row, float64 [n], rows of zeros left out.

    Training anew may turn and mirror the whole space. This is the same before and after, coordinates are not.
    """
    found = summarize(array)
    length = float(np.linalg.norm(found.mean)) or 1.0
    axis = found.mean / length
    parts = [np.asarray(array[part], dtype=np.float64) @ axis for part in blocks(array)]
    cosine = np.concatenate(parts) / np.where(found.norm > 0, found.norm, 1.0) if parts else np.zeros(0)
    return cosine[found.norm > 0]


def weights(source: Source, noun: str) -> pl.DataFrame:
    """One row a tensor of the .safetensors files under an artefact: file, tensor, values, not_finite."""
    folder = source.folder(noun)
    rows = [
        (path.relative_to(folder).as_posix(), *told)
        for path in sorted(folder.rglob("*.safetensors"))
        for told in _tensors(path)
    ]
    kinds = {"file": pl.String, "tensor": pl.String, "values": pl.Int64, "not_finite": pl.Int64}
    return pl.DataFrame(rows, kinds, orient="row")


def curve(source: Source, noun: str) -> pl.DataFrame:
    """One row an epoch of loss.csv: epoch, loss, finite (0 or 1)."""
    table = pl.read_csv(source.folder(noun) / "loss.csv", schema_overrides={"loss": pl.Float64})
    return table.select("epoch", "loss", finite=pl.col("loss").is_finite().fill_null(False).cast(pl.UInt8))


def _tensors(path: Path) -> list[tuple[str, int, int]]:
    """Name, values, and how many of these are NaN or infinite, of each tensor of a file; without torch."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    told = []
    for name, tensor in header.items():
        if name == "__metadata__" or tensor["dtype"] not in DTYPES:
            continue
        start, end = tensor["data_offsets"]
        kind = np.dtype(DTYPES[tensor["dtype"]])
        count = (end - start) // kind.itemsize
        bad = 0
        if count:
            data = np.memmap(path, kind, "r", offset=8 + length + start, shape=(count,))
            for at in range(0, count, BLOCK):
                some = np.asarray(data[at : at + BLOCK])
                infinite = some & BF16_EXPONENT == BF16_EXPONENT if tensor["dtype"] == "BF16" else ~np.isfinite(some)
                bad += int(infinite.sum())
        told.append((name, count, bad))
    return told
