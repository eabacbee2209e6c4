"""A sample of every format that has a writer in tests/catalog/samples, with thousands of rows in place of a handful."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from catalog.samples import a2q, csv, jsonl, lf, mm_amazon, polyvore, xc  # type: ignore[import-not-found]
from catalog.samples.content import Content  # type: ignore[import-not-found]

LINKS = 8
"""Labels of an item, and answers of an ad, in the mean."""
OUTFIT = 5
"""Products of an outfit."""


def write(folder: Path, name: str, rows: int) -> None:
    """A catalogue in the format of that name, of some `rows` items."""
    writers: dict[str, Callable[[], None]] = {
        "csv": lambda: csv.write(folder, content(rows)),
        "jsonl": lambda: jsonl.write(folder, content(rows)),
        "xc": lambda: xc.write(folder, content(rows)),
        "mm_amazon": lambda: mm_amazon.write(folder, content(rows)),
        "lf": lambda: lf.write(folder, content(rows), contents=True),
        "polyvore": lambda: polyvore.write(folder, outfits(rows)),
        "a2q": lambda: a2q.write(folder, log(rows)),
    }
    writers[name]()


def content(rows: int, seed: int = 0) -> Any:
    """Four fifths of the items are of training; half as many labels; an image each, of a fifth as many pictures."""
    rng = np.random.default_rng(seed)
    sizes = {"train": rows * 4 // 5, "test": rows // 5, "label": rows // 2}
    picture = rng.permutation(sum(sizes.values()))
    images, at = {}, 0
    for side, size in sizes.items():
        images[side] = [[number] for number in picture[at : at + size].tolist()]
        at += size
    linked = {
        side: [np.unique(rng.integers(0, sizes["label"], LINKS)).tolist() for _ in range(sizes[side])]
        for side in ("train", "test")
    }
    return Content(
        uids={side: [f"{side[:2].upper()}{row:08d}" for row in range(size)] for side, size in sizes.items()},
        titles={side: _titles(rng, size) for side, size in sizes.items()},
        links=linked,
        filters={side: [(row, labels[0]) for row, labels in enumerate(linked[side][:100])] for side in linked},
        images=images,
    )


def outfits(rows: int, seed: int = 0) -> Any:
    """Outfits of five of `rows` products; a fifth of them is of test and asked about."""
    rng = np.random.default_rng(seed)
    sets = {"train": rows * 4 // 5 // OUTFIT * 2, "valid": 1, "test": rows // 5 // OUTFIT * 2}
    first = {"train": (0, rows * 4 // 5), "valid": (0, rows), "test": (rows * 4 // 5, rows)}
    made = {
        split: {f"{split_number}{number:06d}": _products(rng, *first[split]) for number in range(count)}
        for split_number, (split, count) in enumerate(sets.items(), 1)
    }
    tested = list(made["test"])
    blanks, judged = [], []
    for number, name in enumerate(tested):
        others = [tested[(number + step) % len(tested)] for step in (1, 2, 3)]
        blanks.append(([f"{name}_{at}" for at in range(2, OUTFIT + 1)], [f"{name}_1", *(f"{one}_1" for one in others)]))
        judged.append((1, [f"{name}_{at}" for at in range(1, OUTFIT + 1)]))
        judged.append((0, [f"{one}_2" for one in others]))
    titles = dict(zip(map(str, range(rows)), _titles(rng, rows), strict=True))
    return polyvore.Outfits(made, titles, {}, blanks, judged)


def log(rows: int, seed: int = 0) -> Any:
    """`rows` ads of an image each, and clicks on them of half as many queries."""
    rng = np.random.default_rng(seed)
    queries = _titles(rng, rows // 2)
    ads = [(f"A/{row:07d}", title, [row]) for row, title in enumerate(_titles(rng, rows))]
    clicks: dict[str, list[tuple[str, str, int]]] = {"train": [], "test": []}
    for row, (ad, _, _) in enumerate(ads):
        chosen = rng.integers(0, len(queries), LINKS)
        clicks["train" if row < rows * 4 // 5 else "test"] += [(ad, queries[query], 1 + row % 3) for query in chosen]
    return a2q.Log(ads, clicks)


def _titles(rng: np.random.Generator, count: int) -> list[str]:
    words = np.array([f"{a}{b}{c}" for a in "bdfglmnprst" for b in ("ar", "el", "in", "or", "uk") for c in "aeiou"])
    return [" ".join(chosen) for chosen in words[rng.integers(0, len(words), (count, 6))]]


def _products(rng: np.random.Generator, first: int, last: int) -> list[str]:
    return [str(product) for product in rng.choice(np.arange(first, last), OUTFIT, replace=False)]
