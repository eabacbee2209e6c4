"""ViXML's image vectors beside a catalogue of the Extreme Classification Repository (arXiv 2511.13189).

trn_embs_imgs_3_1152_siglip2.npy   float [n_images, d]; tst_ and lbl_ likewise
train_imgs_384_3_map.npy           the vectors' rows of each item; test_ and labels_ likewise
"""

from __future__ import annotations

import pickletools
import reprlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import polars as pl

from mufin_model.catalog.columns import IMAGES
from mufin_model.catalog.distrust import Unreadable, in_words
from mufin_model.catalog.lines import refuse_no_file
from mufin_model.catalog.vectors import ImageVectors, open_vectors
from mufin_model.errors import CatalogError

SIDES = {"train": ("trn_embs_imgs_*.npy", "train_imgs_*_map.npy")}
SIDES |= {"test": ("tst_embs_imgs_*.npy", "test_imgs_*_map.npy")}
SIDES |= {"label": ("lbl_embs_imgs_*.npy", "labels_imgs_*_map.npy")}
"""The names of the vectors and of their map, of each side."""

Rows = npt.NDArray[np.int64]


def read(folder: Path, heights: dict[str, int]) -> tuple[ImageVectors, dict[str, pl.Series]] | None:
    """The vectors of a folder, and each row's image paths by side; None where there are none.

    Args:
        heights: items or labels of each side: 'train', 'test', 'label'.

    Raises:
        CatalogError: a file is missing, damaged, given twice, or of another height.
    """
    if not any(list(folder.glob(vectors)) for vectors, _ in SIDES.values()):
        return None
    files: dict[str, Path] = {}
    paths: dict[str, pl.Series] = {}
    for side, patterns in SIDES.items():
        vectors, where = (_only(folder, pattern) for pattern in patterns)
        files[vectors.name] = vectors
        bounds, rows = read_map(where)
        if len(bounds) - 1 != heights[side]:
            raise CatalogError(
                f"there are images for {len(bounds) - 1:,} rows, but {heights[side]:,} rows of text",
                where=str(where),
                mend="take the vectors that were made from these texts",
            )
        known = len(open_vectors(vectors))
        outside = np.flatnonzero((rows < 0) | (rows >= known))
        if len(outside):
            raise CatalogError(
                f"{len(outside):,} images are past the last of {known:,} vectors",
                where=str(where),
                rows=[f"row {np.searchsorted(bounds, at, 'right') - 1}: {rows[at]}" for at in outside[:1000]],
                mend=f"take {where.name} and {vectors.name} of one download",
            )
        flat = ImageVectors.paths(vectors.name, pl.Series(rows))
        owner = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        bags = pl.DataFrame({"row": owner, "path": flat}).group_by("row", maintain_order=True).agg("path")
        every = pl.DataFrame({"row": np.arange(len(bounds) - 1)})
        joined = every.join(bags, on="row", how="left", maintain_order="left")
        paths[side] = joined["path"].fill_null([]).cast(IMAGES).alias("image_paths")
    return ImageVectors(files), paths


def read_map(file: Path) -> tuple[Rows, Rows]:
    """The images of each row, from an integer array [n, k] padded with -1, or from ViXML's own array of lists.

    Lists lie in .npy files as a pickle, which could run any code. It is never loaded: its instructions are read one by
    one, lists and whole numbers are taken over, and anything else is refused.

    Returns:
        (bounds int64 [n + 1], rows of the vectors int64 [nnz]).

    Raises:
        CatalogError: the file is neither.
    """
    try:
        refuse_no_file(file)
        with open(file, "rb") as opened:
            version = np.lib.format.read_magic(opened)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read_header(opened)
            if dtype.hasobject and len(shape) == 1:
                return _lists(_numbers(opened), shape[0], file.stat().st_size)
        if dtype.kind not in "iu" or len(shape) != 2:
            raise Unreadable(f"it holds {dtype} {shape}")
        table = np.load(file, allow_pickle=False).astype(np.int64)
    except FileNotFoundError as error:
        raise CatalogError(f"{file.name} is missing", where=str(file), mend=f"add {file.name}") from error
    except Exception as error:  # a damaged header raises anything, and so do instructions in a wrong order
        raise CatalogError(
            f"no readable map of images: {in_words(error)}",
            where=str(file),
            mend="save whole numbers [rows, images at most], -1 where there is none, with numpy.save",
        ) from error
    counts = (table >= 0).sum(1)
    return np.concatenate([[0], np.cumsum(counts)]), table[table >= 0]


def _lists(content: list[Any], height: int, size: int) -> tuple[Rows, Rows]:
    """Bounds and rows of a list whose elements are lists of numbers, or -1 or None for none; size: the file's."""
    if len(content) != height:
        raise Unreadable(f"it has {len(content):,} rows, not the {height:,} of its header")
    bags = [() if bag is None or bag == -1 else bag for bag in content]
    total = 0
    for row, bag in enumerate(bags):
        if isinstance(bag, list | tuple):
            total += len(bag)
            if total > size:  # a number takes two bytes and more, but one list can be referred to again and again
                raise Unreadable(f"{size:,} bytes that unfold into more than {total:,} numbers")
            if all(type(number) is int for number in bag):
                continue
        raise Unreadable(f"row {row} holds {reprlib.repr(bag):.80}, not a list of whole numbers")
    counts = np.fromiter(map(len, bags), np.int64, len(bags))
    rows = np.fromiter((number for bag in bags for number in bag), np.int64, int(counts.sum()))
    return np.concatenate([[0], np.cumsum(counts)]), rows


ARRAY = {
    *(f"numpy.{core}.multiarray _reconstruct" for core in ("core", "_core")),
    *("numpy ndarray", "numpy dtype"),
}
"""The names that an array of objects refers to; none is looked up."""
CONSTANTS = {
    *("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
    *("SHORT_BINBYTES", "BINBYTES", "SHORT_BINSTRING", "SHORT_BINUNICODE", "BINUNICODE"),
}
"""Instructions that push their own value."""


def _numbers(opened: BinaryIO) -> list[Any]:
    """The elements of a pickled array of objects, found by walking over its instructions."""
    mark = object()
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def above_mark() -> list[Any]:
        at = len(stack) - 1 - next(i for i, entry in enumerate(reversed(stack)) if entry is mark)
        taken = stack[at + 1 :]
        del stack[at:]
        return taken

    value: Any
    for opcode, value, _ in pickletools.genops(opened):
        name = opcode.name
        if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else value] = stack[-1]
        elif name in ("PROTO", "FRAME"):
            continue
        elif name == "MARK":
            stack.append(mark)
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[value])
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "APPEND":
            element = stack.pop()
            stack[-1].append(element)
        elif name == "APPENDS":
            elements = above_mark()
            stack[-1].extend(elements)
        elif name in ("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            size = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}.get(name)
            parts = above_mark() if size is None else stack[len(stack) - size :]
            if size:
                del stack[-size:]
            stack.append(tuple(parts))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            if name == "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                value = f"{module} {attribute}"
            if value not in ARRAY:
                raise Unreadable(f"it refers to {value!r:.80}, which no list of numbers needs")
            stack.append(value)
        elif name == "REDUCE":
            stack.pop()
            stack[-1] = None  # an array or a type, of which only the state matters
        elif name == "BUILD":
            state = stack.pop()
            stack[-1] = state
        elif name == "STOP":
            state = stack.pop()
            return list(state[4])  # version, shape, dtype, order, elements
        elif name in CONSTANTS:
            stack.append(None if name == "NONE" else value)
        else:
            raise Unreadable(f"it holds an instruction {name}, which no list of numbers needs")
    raise Unreadable("it breaks off")


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise CatalogError(
            f"there are {len(found)} files {pattern}, not one",
            where=str(folder),
            rows=[path.name for path in found],
            mend="put the vectors and the maps of train, test and labels there, of one model",
        )
    return found[0]
