"""The Extreme Classification Repository's text format: titles a line each, labels as sparse text.

    trn_X_Y.txt, tst_X_Y.txt                              "rows columns", then "label:value label:value ..." a row
    raw_data/{train,test,label}.raw.txt                   "UID->title" a row; latin-1, not gzipped
      or {trn,tst,lbl}.raw.txt                            the title alone
    filter_labels_train.txt, filter_labels_test.txt       "item label", pairs to take out (optional)

A row of trn_X_Y.txt may be blank. ViXML's image vectors (`vixml`) serve where they lie beside these files.
"""

from __future__ import annotations

from pathlib import Path

from mufin_model.catalog import vixml
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
    sides = read_sides(folder)
    vectors = vixml.read(folder, {name: side.table.height for name, side in sides.items()})
    if vectors is not None:
        sides = {name: Side(name, side.file, side.table, vectors[1][name]) for name, side in sides.items()}
    return assemble(
        sides["train"],
        sides["test"],
        sides["label"],
        (read_matrix(folder / "trn_X_Y.txt"), read_matrix(folder / "tst_X_Y.txt")),
        read_filters(folder),
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
    return {name: Side(name, file, read_titles(file, uids)) for name, file in files.items()}


def read_filters(folder: Path) -> tuple[Pairs | None, Pairs | None]:
    """The pairs to take out of the training and of the test split, where there are such files.

    Raises:
        CatalogError: a file is damaged.
    """
    train, test = (folder / f"filter_labels_{split}.txt" for split in ("train", "test"))
    return read_pairs(train) if train.is_file() else None, read_pairs(test) if test.is_file() else None
