"""A writer of MM-AmazonTitles-300K's layout: the text files, and all images as lines of img.bin."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix, save_npz

from . import xc
from .content import Content, jpeg


def write(folder: Path, content: Content) -> None:
    """The whole set, img.urls.txt included."""
    xc.write(folder, content)
    (folder / "images").mkdir(exist_ok=True)
    owners: dict[int, str] = {}
    for side, rows in content.images.items():
        for uid, numbers in zip(content.uids[side], rows, strict=True):
            products = uid.split(",")
            for place, number in enumerate(numbers):
                owners.setdefault(number, products[place % len(products)])
    offsets, lines = {}, bytearray()
    # Pictures lie in the file in no order of the items.
    for number in sorted(owners, key=lambda number: (number * 7 % 12, number)):
        offsets[number] = len(lines)
        lines += owners[number].encode() + b"\t" + base64.b64encode(jpeg(number)) + b"\n"
    (folder / "images" / "img.bin").write_bytes(lines)
    urls = "".join(f"{uid}\thttps://images.example/{number}.jpg\n" for number, uid in sorted(owners.items()))
    (folder / "img.urls.txt").write_bytes(urls.encode("latin-1"))
    for side, rows in content.images.items():
        save_npz(folder / "images" / f"{side}.img.bin.npz", hash_map([[offsets[n] for n in row] for row in rows]))


def hash_map(rows: list[list[int]]) -> csr_matrix:
    """CSR [rows, image slots]: each image has a slot of its own, whose value is its byte offset plus one."""
    values = np.array([offset + 1 for row in rows for offset in row], np.int64)
    bounds = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return csr_matrix((values, np.arange(len(values)), bounds), shape=(len(rows), max(1, len(values))))
