"""The generic tables of a sample as plain rows, which the writers of `csv` and `jsonl` put into their own text."""

from __future__ import annotations

from pathlib import Path

from .content import Content, jpeg

Row = dict[str, str | list[str] | None]


def rows(content: Content) -> dict[str, list[Row]]:
    """Rows by table: items and labels with their columns, and pairs. Items without a title have null."""

    def described(name: str) -> list[Row]:
        return [
            {"id": uid, "text": title or None, "image_paths": [f"images/{number}.jpg" for number in numbers]}
            for uid, title, numbers in zip(content.uids[name], content.titles[name], content.images[name], strict=True)
        ]

    def pairs(split: str, linked: list[tuple[int, int]]) -> list[Row]:
        ids, labels = content.uids[split], content.uids["label"]
        return [{"item_id": ids[row], "label_id": labels[label]} for row, label in linked]

    tables = {
        "items": [row | {"split": split} for split in ("train", "test") for row in described(split)],
        "labels": described("label"),
    }
    for split, links in content.links.items():
        tables[split] = pairs(split, [(row, label) for row, labels in enumerate(links) for label in labels])
        tables[f"filter_{split}"] = pairs(split, content.filters[split])
    return tables


def write_images(folder: Path, content: Content) -> None:
    """images/<number>.jpg"""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number in {number for bags in content.images.values() for bag in bags for number in bag}:
        (folder / "images" / f"{number}.jpg").write_bytes(jpeg(number))
