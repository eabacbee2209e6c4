"""Advertisements to queries (A2Q): pictures and a title to the query texts that led to clicks. Labels are texts alone.

    ads.tsv                               ad_id, title, images (file names below the folder, joined by commas; or none)
    clicks_train.tsv, clicks_test.tsv     ad_id, query, clicks (optional: lines of 0 clicks are left out)

UTF-8, columns by the names in the first line, further ones ignored, no quotes: a line is a row and a tab ends a field.
Each file may be gzipped (.tsv.gz). Queries that differ in case or white space are one label, whose id is the query in
lower case and whose text is as first written. Queries of the test ads alone are zero-shot labels.

The set of the paper (A2Q-4M) is not public, and its layout unknown; this one is that of such a log's extract.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from mufin_model.catalog.columns import IMAGES, nearest
from mufin_model.catalog.faults import all_of, apart, settle
from mufin_model.catalog.image_files import ImageFiles
from mufin_model.catalog.lines import SHOWN, blocks, fault
from mufin_model.catalog.schema import Source
from mufin_model.errors import CatalogError

FILES = ("ads", "clicks_train", "clicks_test")
AD: dict[str, pl.DataType | type[pl.DataType]] = {"id": pl.String, "text": pl.String, "image_paths": IMAGES}


def recognises(folder: Path) -> bool:
    """True where any of the files lies."""
    return any(_file(folder, name).is_file() for name in FILES)


def read(folder: Path) -> Source:
    """Read the tables, block by block.

    Raises:
        CatalogError: a file is missing or damaged, or a line is not as the first one says.
    """
    files = {name: _file(folder, name) for name in FILES}
    with apart():
        ads = pl.concat([pl.DataFrame(schema=AD), *_ads(files["ads"])])
    clicks = all_of({name: partial(_clicks, files[name]) for name in FILES[1:]})
    settle()
    (train, queries), (test, asked) = clicks.values()
    seen = test["label_id"].is_in(queries["id"].implode())
    tables = {
        "items": ads,
        "labels": queries,
        "train": train,
        "test": test.filter(seen),
        "zeroshot_labels": asked.filter(~asked["id"].is_in(queries["id"].implode())),
        "test_zeroshot": test.filter(~seen),
    }
    places = {"items": "ads", "labels": "clicks_train", "train": "clicks_train"}
    return Source(tables, ImageFiles(folder), {name: str(files[places.get(name, "clicks_test")]) for name in tables})


def _file(folder: Path, name: str) -> Path:
    """The file of that name, gzipped where only that is there."""
    plain, packed = folder / f"{name}.tsv", folder / f"{name}.tsv.gz"
    return packed if packed.is_file() and not plain.is_file() else plain


def _ads(file: Path) -> Iterator[pl.DataFrame]:
    for _, rows in _fields(file, ("ad_id", "title", "images"), 3):
        ids, titles, images = zip(*rows, strict=True) if rows else ((), (), ())
        paths = [[path for part in named.split(",") if (path := part.strip())] for named in images]
        yield pl.DataFrame({"id": ids, "text": titles, "image_paths": paths}, schema=AD)


def _clicks(file: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """item_id, label_id of each line that was clicked; and id, text of the distinct queries, in the file's order."""
    # Each id is kept once, and a line as two numbers: lines are many times as many.
    ads: dict[str, int] = {}
    queries: dict[str, int] = {}
    texts: list[str] = []
    of_ads, of_queries = array("I"), array("I")
    for numbers, rows in _fields(file, ("ad_id", "query", "clicks"), 2):
        bad: list[tuple[int, str]] = []
        for number, (ad, query, *rest) in zip(numbers, rows, strict=True):
            text = " ".join(query.split())
            clicks = rest[0].strip() if rest else "1"
            if not text or not (clicks.isascii() and clicks.isdigit()):
                bad.append((number, "\t".join((ad, query, *rest))))
            elif clicks.strip("0"):
                of_ads.append(ads.setdefault(ad, len(ads)))
                of_queries.append(queries.setdefault(text.lower(), len(queries)))
                if len(texts) < len(queries):
                    texts.append(text)
        if bad:
            raise fault(file, f"{len(bad):,} lines have no query, or clicks that are no whole number", bad[:SHOWN])
    ids = pl.DataFrame({"id": list(queries), "text": texts}, schema={"id": pl.String, "text": pl.String})
    links = {
        "item_id": pl.Series(list(ads), dtype=pl.String).gather(np.asarray(of_ads)),
        "label_id": ids["id"].gather(np.asarray(of_queries)),
    }
    return pl.DataFrame(links), ids


def _fields(file: Path, names: tuple[str, ...], required: int) -> Iterator[tuple[list[int], list[tuple[str, ...]]]]:
    """The fields of each line by the names of the first one, in blocks, with the lines' numbers, counted from 1.

    Args:
        file: with tabs.
        names: of the fields asked for.
        required: how many of these, from the first, must be there; rows are shorter where a last one is not.
    """
    header: list[str] = []
    places: list[int] = []
    for first, lines in blocks(file):
        if not header:
            header = lines.pop(0).decode("utf-8-sig", "replace").split("\t")
            places = _places(file, header, names, required)
            first += 1
        rows: list[tuple[str, ...]] = []
        bad: list[tuple[int, bytes]] = []
        for number, line in enumerate(lines, first):
            try:
                fields = line.decode().split("\t")
            except UnicodeDecodeError:
                bad.append((number, line))
                continue
            if len(fields) != len(header):
                bad.append((number, line))
                continue
            rows.append(tuple([fields[place] for place in places]))
        if bad:
            what = f"{len(bad):,} lines are not the {len(header)} fields of the first line, in UTF-8"
            raise fault(file, what, bad[:SHOWN], "mend these lines; a title or query may hold no tab and no line end")
        yield list(range(first, first + len(lines))), rows
    if not header:
        raise CatalogError("the file is empty", where=str(file), mend=f"begin it with a line of {', '.join(names)}")


def _places(file: Path, header: list[str], names: tuple[str, ...], required: int) -> list[int]:
    for name in names[:required]:
        if name not in header:
            near = nearest(name, header)
            raise CatalogError(
                f"column {name!r} is missing",
                where=f"{file}, line 1",
                rows=[f"has: {', '.join(header)[:500]}"],
                mend=f"rename {near!r} to {name!r}" if near else f"begin the file with a line of {', '.join(names)}",
            )
    return [header.index(name) for name in names if name in header]
