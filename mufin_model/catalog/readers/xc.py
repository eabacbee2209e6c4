"""The Extreme Classification Repository's text format: titles a line each, labels as sparse text.

    trn_X_Y.txt, tst_X_Y.txt                              "rows columns", then "label:value label:value ..." a row
    raw_data/{train,test,label}.raw.txt                   "UID->title" a row; latin-1, not gzipped
      or {trn,tst,lbl}.raw.txt                            the title alone
    filter_labels_train.txt, filter_labels_test.txt       "item label", pairs to take out (optional)

A row of trn_X_Y.txt may be blank. ViXML's image vectors (`vixml`) serve where they lie beside these files.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from mufin_model.catalog import vixml
from mufin_model.catalog.faults import all_of, apart, settle
from mufin_model.catalog.image_files import ImageFiles
from mufin_model.catalog.numbered import Side, assemble
from mufin_model.catalog.schema import Source
from mufin_model.catalog.sparse_text import Pairs, read_matrix, read_pairs, read_titles
from mufin_model.catalog.vectors import Patterns
from mufin_model.errors import CatalogError

TITLES = {"train": "trn.raw.txt", "test": "tst.raw.txt", "label": "lbl.raw.txt"}
"""Titles without UIDs."""


def recognises(folder: Path) -> bool:
    """True where a label matrix lies as text, without images in a file and without gzipped JSON."""
    other = (folder / "images").is_dir() or (folder / "trn.json.gz").is_file()
    return not other and any((folder / f"{split}_X_Y.txt").is_file() for split in ("trn", "tst"))


def read(folder: Path) -> Source:
    """Read the tables.

    Raises:
        CatalogError: a file is missing or damaged, or the files do not fit each other.
    """
    with apart():
        sides = read_sides(folder)
    with apart():
        links = read_links(folder)
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
        links,
        filters,
        ImageFiles(folder) if vectors is None else Patterns(),
        None if vectors is None else vectors[0],
    )


def read_sides(folder: Path) -> dict[str, Side]:
    """The titles of 'train', 'test' and 'label'.

    Raises:
        CatalogError: a file is missing or damaged.
    """
    raw = {name: folder / "raw_data" / f"{name}.raw.txt" for name in TITLES}
    uids = any(file.is_file() for file in raw.values())
    plain = {name: folder / file for name, file in TITLES.items()}
    if not uids and not any(file.is_file() for file in plain.values()):
        raise CatalogError(
            "the titles are missing",
            where=str(folder),
            rows=[f"found: {', '.join(sorted(path.name for path in folder.iterdir())[:10])}"],
            mend="add raw_data/train.raw.txt, test.raw.txt and label.raw.txt of the same download",
        )
    files = raw if uids else plain
    titles = all_of({name: partial(read_titles, file, uids) for name, file in files.items()})
    return {name: Side(name, file, titles[name]) for name, file in files.items()}


def read_links(folder: Path) -> tuple[Pairs, Pairs]:
    """The labels of the training and of the test items.

    Raises:
        CatalogError: a file is missing or damaged.
    """
    pairs = all_of({split: partial(read_matrix, folder / f"{split}_X_Y.txt") for split in ("trn", "tst")})
    return pairs["trn"], pairs["tst"]


def read_filters(folder: Path) -> tuple[Pairs | None, Pairs | None]:
    """The pairs to take out of the training and of the test split, where there are such files.

    Raises:
        CatalogError: a file is damaged.
    """
    files = {split: folder / f"filter_labels_{split}.txt" for split in ("train", "test")}
    pairs = all_of({split: partial(read_pairs, file) for split, file in files.items() if file.is_file()})
    return pairs.get("train"), pairs.get("test")
