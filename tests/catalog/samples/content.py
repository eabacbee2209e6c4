"""What the small samples hold, whatever their format: 5 training items, 3 test items, 4 labels."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

from PIL import Image


def jpeg(number: int) -> bytes:
    """A 128 x 128 JPEG, as the repository stores them: a coloured picture between white bars."""
    square = Image.new("RGB", (128, 128), "white")
    square.paste(Image.new("RGB", (128, 64), (40 * number % 256, 90, 10)), (0, 32))
    out = io.BytesIO()
    square.save(out, "JPEG")
    return out.getvalue()


@dataclass
class Content:
    """A catalogue by row number, which the writers put on disk.

    Attributes:
        uids, titles: by 'train', 'test' and 'label'.
        links, filters: by 'train' and 'test'; the labels of each item, and (item, label) pairs.
        images: numbers of the pictures of each row; equal numbers are one picture.
    """

    uids: dict[str, list[str]] = field(
        default_factory=lambda: {
            "train": ["B00A", "B00B,B00C", "B00D", "B00E", "B00F"],
            "test": ["B01A", "B01B", "B01C"],
            "label": ["B00A", "B02B", "B02C,B02D", "B02E"],
        }
    )
    titles: dict[str, list[str]] = field(
        default_factory=lambda: {
            # Titles with an arrow, a Latin letter, characters that Python takes for line ends, and none at all.
            "train": ["Red oak chair", "Vase -> teal", "Caf\xe9 sign", "Next\x85line\x0bfeed", ""],
            "test": ["Oak_table", "\xa0Gold leaf \xbd", "Lamp"],
            "label": ["Chair cushion", "Cut flowers", "->", "Bulb"],
        }
    )
    links: dict[str, list[list[int]]] = field(
        default_factory=lambda: {"train": [[0, 2], [1], [], [0, 1, 2, 3], []], "test": [[3], [], [0, 1]]}
    )
    filters: dict[str, list[tuple[int, int]]] = field(
        default_factory=lambda: {"train": [(0, 0)], "test": [(2, 0), (1, 3)]}
    )
    images: dict[str, list[list[int]]] = field(
        default_factory=lambda: {
            "train": [[0], [1, 2, 3], [], [4], [5]],
            "test": [[6], [], [7, 8]],
            "label": [[0], [9], [10, 11], []],
        }
    )
