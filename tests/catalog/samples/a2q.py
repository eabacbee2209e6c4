"""A writer of the layout of `a2q`: advertisements, and the queries that led to clicks on them."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from pathlib import Path

from .content import jpeg


@dataclass
class Log:
    """A log's extract.

    Attributes:
        ads: ad, title, numbers of its pictures.
        clicks: ad, query, clicks, by split.
    """

    ads: list[tuple[str, str, list[int]]] = field(
        default_factory=lambda: [
            ("A/1", 'Red "oak" chair\u2028sale', [0, 1]),
            ("A/2", "Caf\xe9 sign, neon", [2]),
            ("A/3", "", [3]),
            ("A/4", "Brass lamp", []),
            ("A/5", "Oak table", [0]),
            ("A/6", "\u706f", [4]),
        ]
    )
    clicks: dict[str, list[tuple[str, str, int]]] = field(
        default_factory=lambda: {
            "train": [
                ("A/1", "Oak  Chair", 3),
                ("A/1", "cheap chairs", 1),
                ("A/1", "lamps", 0),
                ("A/2", "neon sign", 12),
                ("A/3", " oak chair", 1),
                ("A/4", "LAMPS", 2),
                ("A/4", "lamps", 2),
            ],
            "test": [
                ("A/5", "oak chair", 1),
                ("A/5", "dining table", 4),
                ("A/6", "Dining Table", 1),
                ("A/6", "neon sign", 0),
                ("A/6", "\u706f", 1),
            ],
        }
    )


def write(folder: Path, log: Log, packed: bool = False, counted: bool = True) -> None:
    """The three files and the pictures.

    Args:
        folder: made where it is not there.
        log: what to write.
        packed: gzip the files.
        counted: with the column clicks; without, only the lines that have any.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number in {number for _, _, numbers in log.ads for number in numbers}:
        (folder / "images" / f"{number}.jpg").write_bytes(jpeg(number))
    ads = [(ad, title, ",".join(f"images/{number}.jpg" for number in numbers)) for ad, title, numbers in log.ads]
    tables = {"ads": [("ad_id", "title", "images"), *ads]}
    for split, clicks in log.clicks.items():
        if counted:
            rows = [(ad, query, str(count)) for ad, query, count in clicks]
            tables[f"clicks_{split}"] = [("ad_id", "query", "clicks"), *rows]
        else:
            tables[f"clicks_{split}"] = [("ad_id", "query"), *((ad, query) for ad, query, count in clicks if count)]  # type: ignore[list-item]
    for name, rows in tables.items():
        data = "".join("\t".join(row) + "\n" for row in rows).encode()
        (folder / f"{name}.tsv{'.gz' if packed else ''}").write_bytes(gzip.compress(data) if packed else data)
