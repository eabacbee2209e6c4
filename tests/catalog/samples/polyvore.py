"""A writer of Polyvore Outfits' layout: 4 training outfits, 1 of validation, 3 of test."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from .content import jpeg


@dataclass
class Outfits:
    """Outfits by split, as set id and product ids in the order of their index, which counts from 1.

    Attributes:
        titles: of the products; of those with none, the name in the shop's address is in `names`.
        blanks: (question, answers) in tokens.
        judged: (compatible, tokens).
    """

    sets: dict[str, dict[str, list[str]]] = field(
        default_factory=lambda: {
            "train": {
                "119704139": ["143", "155", "160"],
                "100": ["143", "171"],
                "101": ["180", "190", "155"],
                "102": ["171", "160"],
            },
            "valid": {"300": ["700", "701"]},
            "test": {"200": ["500", "143", "510"], "201": ["520", "530"], "202": ["510", "530", "540"]},
        }
    )
    titles: dict[str, str] = field(
        default_factory=lambda: {
            **{product: f"Product {product}" for product in ("143", "155", "160", "180", "190", "500", "510", "520")},
            "171": "Caf\xe9 \u2014 robe\u2028noire",
            "530": "",
            "700": "Scarf",
            "999": "in no outfit",
        }
    )
    names: dict[str, str] = field(default_factory=lambda: {"530": "leather-boots", "540": ""})
    blanks: list[tuple[list[str], list[str]]] = field(
        default_factory=lambda: [
            (["200_1", "200_2"], ["201_1", "200_3", "202_3", "201_2"]),
            (["202_3", "202_1"], ["202_2", "201_1", "200_1", "200_2"]),
        ]
    )
    judged: list[tuple[int, list[str]]] = field(
        default_factory=lambda: [
            (1, ["200_1", "200_2", "200_3"]),
            (0, ["200_1", "201_1"]),
            (1, ["202_1", "202_2", "202_3"]),
            (0, ["201_2", "200_3", "202_3"]),
        ]
    )


def write(folder: Path, outfits: Outfits, split: str = "nondisjoint") -> None:
    """The whole set with one split, the files beside that no reader needs included."""
    place = folder / split
    place.mkdir(parents=True)
    (folder / "images").mkdir(exist_ok=True)
    products = sorted({product for sets in outfits.sets.values() for members in sets.values() for product in members})
    for number, product in enumerate(products):
        (folder / "images" / f"{product}.jpg").write_bytes(jpeg(number))
    metadata = {
        product: {
            "url_name": outfits.names.get(product, f"{title} url".lower()),
            "description": "",
            "catgeories": ["Women's Fashion", "Clothing"],
            "title": title,
            "related": ["Tops"],
            "category_id": "11",
            "semantic_category": "tops",
        }
        for product, title in {**dict.fromkeys(outfits.names, ""), **outfits.titles}.items()
    }
    (folder / "polyvore_item_metadata.json").write_text(json.dumps(metadata))
    (folder / "polyvore_outfit_titles.json").write_text(json.dumps({"200": {"url_name": "x", "title": "X"}}))
    (folder / "categories.csv").write_text("2,bag,bags\n")
    (place / "typespaces.p").write_bytes(b"cposix\nsystem\n(S'touch /tmp/never'\ntR.")
    for name, sets in outfits.sets.items():
        listed = [
            {"items": [{"item_id": item, "index": at} for at, item in enumerate(members, 1)], "set_id": set_id}
            for set_id, members in sets.items()
        ]
        (place / f"{name}.json").write_text(json.dumps(listed))
        write_questions(place, outfits, name)


def write_questions(place: Path, outfits: Outfits, name: str) -> None:
    """Both kinds of questions of a split; those of the test split alone hold anything."""
    asked = [
        {"blank_position": 1, "answers": answers, "question": question}
        for question, answers in (outfits.blanks if name == "test" else [])
    ]
    (place / f"fill_in_blank_{name}.json").write_text(json.dumps(asked))
    lines = [f"{truth} {' '.join(tokens)}\n" for truth, tokens in (outfits.judged if name == "test" else [])]
    (place / f"compatibility_{name}.txt").write_text("".join(lines))
