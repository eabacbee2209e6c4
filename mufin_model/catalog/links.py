"""Links as sparse matrices, and bags of images as offsets and rows.

links.parquet of raw_descriptors: item u32, label u32 (rows), split string. Where `ingest.weight_column` names a column
it has `weight` f32 too: the link's weight as the catalogue gives it, finite and above 0, not normalised; 1 in a table
without that column; the greatest where a pair is given twice. Without the setting the column is absent, and all links
weigh 1.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix


def to_csr(
    rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int], values: np.ndarray | None = None
) -> csr_matrix:
    """A float32 matrix of values at the pairs (rows[i], columns[i]); of repeated pairs the first counts.

    Args:
        rows, columns: integer [nnz], in any order.
        shape: of the matrix.
        values: [nnz]; ones where None.
    """
    order = np.lexsort((columns, rows))
    rows, columns = rows[order].astype(np.int64), columns[order].astype(np.int64)
    values = np.ones(len(rows), np.float32) if values is None else values[order].astype(np.float32)
    if len(rows):
        new = np.ones(len(rows), dtype=bool)
        new[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
        rows, columns, values = rows[new], columns[new], values[new]
    index = np.int32 if max(len(rows), *shape) < 2**31 else np.int64
    indptr = np.searchsorted(rows, np.arange(shape[0] + 1)).astype(index)
    return csr_matrix((values, columns.astype(index), indptr), shape=shape)


def restrict(pairs: pl.DataFrame, rows: np.ndarray, columns: range) -> csr_matrix:
    """The pairs of chosen items and labels, as a matrix float32 [len(rows), len(columns)].

    Args:
        pairs: item, label (rows of the catalogue); their values are the column weight where there is one, else ones.
        rows: item rows, ascending; row i of the matrix is item rows[i].
        columns: label rows; column j of the matrix is label columns[j].
    """
    item, label = pairs["item"].to_numpy().astype(np.int64), pairs["label"].to_numpy().astype(np.int64)
    place = np.searchsorted(rows, item)
    kept = (place < len(rows)) & (label >= columns.start) & (label < columns.stop)
    kept[kept] = rows[place[kept]] == item[kept]
    values = pairs["weight"].to_numpy()[kept] if "weight" in pairs.columns else None
    return to_csr(place[kept], label[kept] - columns.start, (len(rows), len(columns)), values)


def look_up(matrix: csr_matrix, columns: np.ndarray) -> np.ndarray:
    """Entries of a matrix [n, L] at columns [n, S] of each row: float32 [n, S].

    0 where the matrix has no entry, and where the column is -1 (padding).
    """
    matrix = matrix.sorted_indices()
    width = matrix.shape[1]
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    known = rows * width + matrix.indices
    if not len(known):
        return np.zeros(columns.shape, np.float32)
    asked = np.arange(len(columns), dtype=np.int64)[:, None] * width + columns
    place = np.searchsorted(known, asked).clip(max=len(known) - 1)
    return np.where((columns >= 0) & (known[place] == asked), matrix.data[place], 0).astype(np.float32)


def places(truth: csr_matrix) -> np.ndarray:
    """Each link's place in the flattened dense matrix: int64 [nnz] for truth [n, L]."""
    rows = np.repeat(np.arange(truth.shape[0], dtype=np.int64), np.diff(truth.indptr))
    return rows * truth.shape[1] + truth.indices


def contains(truth: csr_matrix, columns: np.ndarray) -> np.ndarray:
    """Whether each pair is linked: bool [n, S] for truth [n, L] and columns [n, S] (-1 never is)."""
    return look_up(truth, columns) > 0


def ragged(lists: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """A column of lists as (offsets int64 [n + 1], rows int64 [nnz])."""
    offsets = np.zeros(len(lists) + 1, np.int64)
    np.cumsum(lists.list.len().fill_null(0).to_numpy(), out=offsets[1:])
    rows = lists.explode(empty_as_null=False, keep_nulls=False).to_numpy().astype(np.int64)
    return offsets, rows
