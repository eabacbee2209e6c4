"""MM-AmazonTitles-300K, and sets laid out as it is: the format `xc` with images.

    images/img.bin                           "UID<tab>base64 of a JPEG" a line
    images/{train,test,label}.img.bin.npz    CSR [rows, image slots]: the offset of an image's line in img.bin, plus one

A UID may be a comma-joined list of products merged into one row; the images of all of them are the row's.
img.urls.txt and BOW/ are not needed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mufin_model.catalog.image_lines import ImageLines, image_paths
from mufin_model.catalog.numbered import assemble
from mufin_model.catalog.readers.xc import read_filters, read_sides
from mufin_model.catalog.schema import Source
from mufin_model.catalog.sparse_text import read_matrix
from mufin_model.errors import CatalogError

MATRIX = ".img.bin.npz"


def recognises(folder: Path) -> bool:
    """True where the images lie in one file, or the matrix of their offsets does."""
    images = folder / "images"
    return (images / "img.bin").is_file() or any(
        (images / f"{name}{MATRIX}").is_file() for name in ("train", "test", "label")
    )


def read(folder: Path) -> Source:
    """Read the tables; images are read later, in the order of their file.

    Raises:
        CatalogError: a file is missing or damaged, or the files do not fit each other.
    """
    images = ImageLines(folder / "images" / "img.bin")
    if not images.file.is_file():
        raise CatalogError(
            "img.bin is missing", where=str(images.file), mend="add it, or remove the folder images/ to go without"
        )
    sides = {
        name: replace(side, images=image_paths(images, images.file.with_name(f"{name}{MATRIX}"), side.table["id"]))
        for name, side in read_sides(folder).items()
    }
    links = read_matrix(folder / "trn_X_Y.txt"), read_matrix(folder / "tst_X_Y.txt")
    return assemble(sides["train"], sides["test"], sides["label"], links, read_filters(folder), images)
