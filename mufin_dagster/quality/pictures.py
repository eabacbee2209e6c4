"""The pictures behind offending rows: whether two of them are the same thing, a person sees at once."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from mufin_dagster.quality import raw_descriptors
from mufin_dagster.quality.frames import Source
from mufin_dagster.quality.rule import Rule

ITEMS = {"items", "test_items", "texts", "pictures"}
LABELS = {"labels", "seen_labels", "zero_shot_labels"}
"""Tables whose `row` is an item's, a label's; that of `images` is an image's."""

KINDS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}
"""First bytes of what the store may hold, to its media type."""


def of(source: Source, rule: Rule, rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """For each row the first picture of what it is about, and of what it is near to, as `data:` addresses.

    Empty where no row has any, and where the artefact is too damaged to tell.
    """
    if rule.noun != raw_descriptors.NOUN:
        return []
    try:
        found = [[_picture(source, image) for image in _images(source, rule.table, row)] for row in rows]
    except Exception:  # the expectations tell of the damage
        return []
    kept = [[picture for picture in pictures if picture] for pictures in found]
    return kept if any(kept) else []


def _images(source: Source, table: str, row: Mapping[str, Any]) -> list[int]:
    if table == "images":
        return [int(row["row"])]
    if table not in ITEMS | LABELS:
        return []
    owners = raw_descriptors.items_of(source) if table in ITEMS else raw_descriptors.labels_of(source)
    bags = [owners["images"][int(row["row"])].to_list()]
    if table == "pictures":  # the others name a text that they are near to, and not its item
        near = owners.filter(owners["id"] == row["near_to"])["images"]
        bags += near.head(1).to_list()
    return [int(bag[0]) for bag in bags if bag]


def _picture(source: Source, row: int) -> str:
    data = raw_descriptors.image_store(source).bytes(row)
    kind = next((kind for first, kind in KINDS.items() if data.startswith(first)), "")
    return f"data:{kind};base64,{base64.b64encode(data).decode()}" if kind else ""
