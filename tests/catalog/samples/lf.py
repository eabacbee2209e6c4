"""Writers of the LF sets' gzipped JSON (pyxclib's write_corpus) and of ViXML's image vectors beside them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np

from .content import Content
from .xc import write_pairs

WIDTH = 16
"""Of the vectors; 1152 in the released ones."""


def write(folder: Path, content: Content, contents: bool = False) -> None:
    """trn.json.gz, tst.json.gz, lbl.json.gz and the filters; with `contents` each record has a body too."""
    folder.mkdir(parents=True, exist_ok=True)
    for side, name in (("train", "trn"), ("test", "tst"), ("label", "lbl")):
        with gzip.open(folder / f"{name}.json.gz", "wt") as file:
            for row, (uid, title) in enumerate(zip(content.uids[side], content.titles[side], strict=True)):
                record: dict[str, object] = {"uid": uid, "title": title, "content": "In oak." if contents else ""}
                if side != "label":
                    targets = content.links[side][row]
                    record |= {"target_ind": targets, "target_rel": [1.0] * len(targets)}
                file.write(json.dumps(record) + "\n")
    for split, pairs in content.filters.items():
        write_pairs(folder / f"filter_labels_{split}.txt", pairs)


def write_vectors(folder: Path, content: Content, lists: bool = True) -> dict[str, np.ndarray]:
    """ViXML's arrays: vectors in the order of each side's images, and the map from rows to them.

    Args:
        lists: the map is an array of objects, as released: a list of rows, or -1; otherwise whole numbers [rows, 3].
    """
    vectors = {}
    for side, short, name in (("train", "trn", "train"), ("test", "tst", "test"), ("label", "lbl", "labels")):
        rows = content.images[side]
        flat = [number for row in rows for number in row]
        vectors[side] = np.stack([np.random.default_rng(n).normal(size=WIDTH) for n in flat]).astype(np.float32)
        np.save(folder / f"{short}_embs_imgs_3_{WIDTH}_siglip2.npy", vectors[side])
        at = 0
        table = np.empty(len(rows), object)
        padded = np.full((len(rows), 3), -1)
        for place, row in enumerate(rows):
            table[place] = list(range(at, at + len(row))) if row else -1
            padded[place, : len(row)] = np.arange(at, at + len(row))
            at += len(row)
        np.save(folder / f"{name}_imgs_384_3_map.npy", table if lists else padded, allow_pickle=lists)
    return vectors
