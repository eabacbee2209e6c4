"""The repository's sets with label features (LF-AmazonTitles-131K, LF-Amazon-131K, ...): gzipped JSON, a record a line.

    trn.json.gz, tst.json.gz      {"uid": ..., "title": ..., "content": ..., "target_ind": [...], "target_rel": [...]}
    lbl.json.gz                   {"uid": ..., "title": ..., "content": ...}; target_ind are its lines, from 0
    filter_labels_train.txt, filter_labels_test.txt       "item label", pairs to take out (optional)

A text is the title, then the content where there is any. ViXML's image vectors (`vixml`) serve where they lie beside.
"""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mufin_model.catalog import vixml
from mufin_model.catalog.distrust import Unreadable, in_words
from mufin_model.catalog.faults import apart, settle
from mufin_model.catalog.image_files import ImageFiles
from mufin_model.catalog.json_entries import whole
from mufin_model.catalog.lines import SHOWN, blocks, fault
from mufin_model.catalog.numbered import Side, assemble
from mufin_model.catalog.readers.xc import read_filters
from mufin_model.catalog.schema import Source
from mufin_model.catalog.sparse_text import LARGEST, Pairs
from mufin_model.catalog.vectors import Patterns

FILES = {"train": "trn.json.gz", "test": "tst.json.gz", "label": "lbl.json.gz"}
MAX_CHARS = 1000
"""Of a text; the rest is cut, as whole articles of millions of items would fill the memory."""


def recognises(folder: Path) -> bool:
    """True where any of the gzipped files lies."""
    return any((folder / file).is_file() for file in FILES.values())


def read(folder: Path) -> Source:
    """Read the tables, block by block.

    Raises:
        CatalogError: a file is missing or damaged, or the files do not fit each other.
    """
    sides: dict[str, Side] = {}
    links: dict[str, Pairs] = {}
    for name in ("label", "train", "test"):
        file = folder / FILES[name]
        with apart():
            labels = sides.get("label")
            # Without the labels' number nothing could be said of the other files' targets.
            table, pairs = _read(file, None if name == "label" or labels is None else labels.table.height)
            sides[name], links[name] = Side(name, file, table), pairs
    with apart():
        filters = read_filters(folder)
    settle()
    vectors = vixml.read(folder, {name: side.table.height for name, side in sides.items()})
    if vectors is not None:
        sides = {name: Side(name, side.file, side.table, vectors[1][name]) for name, side in sides.items()}
    return assemble(
        sides["train"],
        sides["test"],
        sides["label"],
        (links["train"], links["test"]),
        filters,
        ImageFiles(folder) if vectors is None else Patterns(),
        None if vectors is None else vectors[0],
    )


def _read(file: Path, n_labels: int | None) -> tuple[pl.DataFrame, Pairs]:
    """id and text of each line; and its labels, where there are n_labels to point at."""
    rows, columns = array("I"), array("I")
    tables = [pl.DataFrame(schema={"id": pl.String, "text": pl.String})]
    at = 0
    for number, lines in blocks(file):
        ids: list[str | None] = []
        texts: list[str] = []
        bad: list[tuple[int, bytes, str]] = []
        for line in lines:
            if not line.strip():
                bad.append((number + len(ids) + len(bad), line, "one is blank"))
                continue
            try:
                uid, text, targets = _record(line, n_labels)
            except (ValueError, RecursionError) as error:
                bad.append((number + len(ids) + len(bad), line, in_words(error)))
                if len(bad) == SHOWN:
                    break
                continue
            ids.append(uid)
            texts.append(text)
            rows.extend([at] * len(targets))
            columns.extend(targets)
            at += 1
        if bad:
            raise fault(
                file,
                f"lines are no records of this set: {bad[0][2][:200]}",
                [(place, line) for place, line, _ in bad],
                "mend these lines, or download the file again",
            )
        tables.append(pl.DataFrame({"id": ids, "text": texts}, schema={"id": pl.String, "text": pl.String}))
    table = pl.concat(tables)
    shape = None if n_labels is None else (table.height, n_labels)
    return table, Pairs(file, np.asarray(rows, np.uint32), np.asarray(columns, np.uint32), shape)


def _record(line: bytes, n_labels: int | None) -> tuple[str | None, str, list[int]]:
    """UID, text and labels of one line.

    Raises:
        ValueError: it is no such record.
    """
    record: Any = json.loads(line)
    if not isinstance(record, dict):
        raise Unreadable(f"a record is an object, not {type(record).__name__}")
    uid = record.get("uid")
    if uid is not None and (isinstance(uid, bool) or not isinstance(uid, str | int)):
        raise Unreadable("uid is neither text nor a number")
    parts = [record.get(field) or "" for field in ("title", "content")]
    if not all(isinstance(part, str) for part in parts) or not ("title" in record or "content" in record):
        raise Unreadable("title and content are not text")
    text = " ".join(part[:MAX_CHARS].strip() for part in parts).strip()[:MAX_CHARS]
    targets = [] if n_labels is None else _targets(record, n_labels)
    return (None if uid in (None, "") else whole(str(uid))), whole(text), targets


def _targets(record: dict[str, Any], n_labels: int) -> list[int]:
    """The labels of relevance above 0."""
    targets = record.get("target_ind")
    if not isinstance(targets, list):
        raise Unreadable("target_ind is missing, or no list")
    for target in targets:
        if type(target) is not int or not 0 <= target < min(n_labels, LARGEST):
            raise Unreadable(f"target_ind {target!r:.40} is no line of lbl.json.gz (0 to {n_labels - 1:,})")
    relevance = record.get("target_rel")
    if relevance is None:
        return targets
    if not isinstance(relevance, list) or len(relevance) != len(targets):
        raise Unreadable("target_rel is not as long as target_ind")
    if not all(type(value) in (int, float) for value in relevance):
        raise Unreadable("target_rel holds something that is no number")
    return [target for target, value in zip(targets, relevance, strict=True) if value > 0]
