"""The pictures beside offending rows: of the right thing, and of what it is near to."""

from __future__ import annotations

import base64

import pytest

from mufin_dagster.quality import pictures
from mufin_dagster.quality.frames import Source
from mufin_dagster.quality.raw_descriptors import image_store, items_of, labels_of
from mufin_dagster.quality.rules import of
from mufin_model.artefacts import Workspace

from .artefacts import DATASET, RAW, write_images


@pytest.fixture
def source(workspace: Workspace) -> Source:
    return Source(workspace, DATASET)


def _shown(source: Source, name: str, **row: object) -> list[bytes]:
    (rule,) = of(RAW, [name])
    told = pictures.of(source, rule, [row])
    return [base64.b64decode(one.removeprefix("data:image/png;base64,")) for one in told[0]] if told else []


def test_of_an_item_a_label_and_an_image(source: Source) -> None:
    store = image_store(source)
    assert _shown(source, "item_ids_unique", row=2) == [store.bytes(items_of(source)["images"][2][0])]
    assert _shown(source, "labels_described", row=3) == [store.bytes(labels_of(source)["images"][3][0])]
    assert _shown(source, "images_not_flat", row=5) == [store.bytes(5)]


def test_of_what_it_is_near_to(source: Source) -> None:
    store, bags = image_store(source), items_of(source)["images"]
    shown = _shown(source, "test_pictures_new", row=10, near_to="i2")
    assert shown == [store.bytes(bags[10][0]), store.bytes(bags[2][0])]


def test_none_where_there_is_none(workspace: Workspace, source: Source) -> None:
    """An item without images, a row about a file, an artefact that is damaged, bytes that are no picture."""
    assert _shown(source, "item_ids_unique", row=4) == []
    assert _shown(source, "schema", file="items.parquet") == []
    (workspace.path(DATASET, RAW) / "images" / "index.json").write_text("{")
    assert _shown(Source(workspace, DATASET), "item_ids_unique", row=2) == []
    write_images(workspace.root, [b"<svg onload=alert(1)>"] * 12)
    assert _shown(Source(workspace, DATASET), "item_ids_unique", row=2) == []
