"""MM-AmazonTitles-300K, and sets laid out as it is: the format `xc` with images.

    images/img.bin                           "UID<tab>base64 of a JPEG" a line
    images/{train,test,label}.img.bin.npz    CSR [rows, image slots]: the offset of an image's line in img.bin, plus one

A UID may be a comma-joined list of products merged into one row; the images of all of them are the row's.
img.urls.txt and BOW/ are not needed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from mufin_model.catalog.faults import all_of, apart, settle
from mufin_model.catalog.image_lines import ImageLines, image_paths
from mufin_model.catalog.numbered import assemble
from mufin_model.catalog.readers.xc import read_filters, read_links, read_sides
from mufin_model.catalog.schema import Source
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
    with apart():
        links = read_links(folder)
    with apart():
        filters = read_filters(folder)
    sides = read_sides(folder)
    paths = all_of(
        {
            name: partial(image_paths, images, images.file.with_name(f"{name}{MATRIX}"), side.table["id"])
            for name, side in sides.items()
        }
    )
    settle()
    train, test, label = (replace(side, images=paths[name]) for name, side in sides.items())
    return assemble(train, test, label, links, filters, images)
