"""A catalogue read back, in the words of `samples.content`."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from mufin_model.catalog import readers
from mufin_model.catalog.schema import Source, check

from ..samples.content import Content


def recognised(folder: Path) -> list[str]:
    """The formats whose readers recognise a folder."""
    names = readers.formats()
    return [name for name in names if importlib.import_module(f"{readers.__name__}.{name}").recognises(folder)]


def told(source: Source, content: Content) -> dict[str, object]:
    """Titles, links and filters as the source has them, by row number; the schema's check has passed."""
    check(source)
    items, labels = source.tables["items"], source.tables["labels"]
    n_train = len(content.uids["train"])
    assert items["split"].to_list() == ["train"] * n_train + ["test"] * len(content.uids["test"])
    label_row = {id_: row for row, id_ in enumerate(labels["id"])}
    item_row = {id_: row for row, id_ in enumerate(items["id"])}

    def pairs(name: str, first: int) -> set[tuple[int, int]]:
        return {(item_row[item] - first, label_row[label]) for item, label in source.tables[name].iter_rows()}

    of_items, of_labels = (table["text"].fill_null("").to_list() for table in (items, labels))
    return {
        "titles": [of_items[:n_train], of_items[n_train:], of_labels],
        "links": [pairs("train", 0), pairs("test", n_train)],
        "filters": [pairs("filter_train", 0), pairs("filter_test", n_train)],
    }


def expected(content: Content, titles: dict[str, list[str]] | None = None) -> dict[str, object]:
    """What `told` should say of a sample."""
    return {
        "titles": list((titles or content.titles).values()),
        "links": [
            {(row, label) for row, labels in enumerate(content.links[split]) for label in labels}
            for split in ("train", "test")
        ],
        "filters": [set(content.filters[split]) for split in ("train", "test")],
    }


def paths(content: Content) -> list[list[str]]:
    """The image paths of all items, where images are files named by their numbers."""
    return [[f"images/{n}.jpg" for n in bag] for split in ("train", "test") for bag in content.images[split]]


@pytest.fixture
def content() -> Content:
    return Content()
