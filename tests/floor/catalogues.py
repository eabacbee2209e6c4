"""Small catalogues of different character. Each is a function of a generator; it gives texts, colours, labels, links.

A picture is one colour and a stripe, so that colours are all that pictures tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

WORDS = [f"{a}{b}" for a in ("ka", "lo", "mi", "nu", "pe", "ra", "so", "ti", "vu", "ze") for b in map(str, range(60))]
COLOURS = [(220, 40, 40), (40, 200, 60), (50, 70, 220), (230, 210, 40), (180, 60, 200), (60, 200, 210), (240, 140, 30),
           (120, 80, 40), (20, 20, 20), (245, 245, 245), (150, 150, 150), (250, 160, 190)]  # fmt: skip


@dataclass
class Made:
    """Items in order; the last `tested` of them are test items.

    Attributes:
        texts: of the items.
        links: labels of each item.
        names: texts of the labels.
        tested: how many items are test items.
        colours: of each item, an index of COLOURS; None where it has no picture.
        unseen: texts of zero-shot labels; links to these are numbered after the others.
    """

    texts: list[str]
    links: list[Sequence[int]]
    names: list[str]
    tested: int
    colours: list[int | None] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """In the generic format."""
        (folder / "images").mkdir(parents=True)
        for number, colour in enumerate(COLOURS):
            image = Image.new("RGB", (16, 16), colour)
            image.putpixel((number, 3), (0, 0, 0))
            image.save(folder / "images" / f"{number}.png")
        colours = self.colours or [None] * len(self.texts)
        paths = [[] if colour is None else [f"images/{colour}.png"] for colour in colours]
        ids, first = [f"i{row}" for row in range(len(self.texts))], len(self.texts) - self.tested
        schema = {"image_paths": pl.List(pl.String)}
        items = pl.DataFrame({"id": ids, "text": self.texts, "image_paths": paths}, schema_overrides=schema)
        items.with_columns(split=pl.Series(["train"] * first + ["test"] * self.tested)).write_parquet(
            folder / "items.parquet"
        )
        seen = len(self.names)
        for name, texts, start in (("labels", self.names, 0), ("zeroshot_labels", self.unseen, seen)):
            if texts:
                rows = {"id": [f"l{start + row}" for row in range(len(texts))], "text": texts}
                pl.DataFrame(rows).write_parquet(folder / f"{name}.parquet")
        pairs = [(row, label) for row, labels in enumerate(self.links) for label in labels]
        for name, chosen in (
            ("train", [(row, label) for row, label in pairs if row < first]),
            ("test", [(row, label) for row, label in pairs if row >= first and label < seen]),
            ("test_zeroshot", [(row, label) for row, label in pairs if row >= first and label >= seen]),
        ):
            if chosen or name != "test_zeroshot":
                columns = {
                    "item_id": [f"i{row}" for row, _ in chosen],
                    "label_id": [f"l{label}" for _, label in chosen],
                }
                pl.DataFrame(columns, schema={"item_id": pl.String, "label_id": pl.String}).write_parquet(
                    folder / f"{name}.parquet"
                )


Random = np.random.Generator


def said(rng: Random, topic: Sequence[str], own: int, noise: int) -> str:
    """A text of some of a topic's words and some of all."""
    return " ".join([*rng.choice(topic, own, replace=False), *rng.choice(WORDS, noise, replace=False)])


def topics(rng: Random, n: int, words: int = 6) -> list[list[str]]:
    return [list(rng.choice(WORDS, words, replace=False)) for _ in range(n)]


def one_item_a_label(rng: Random) -> Made:
    """Each label has one item, and the test texts are the training texts."""
    texts = [said(rng, WORDS, 3, 3) for _ in range(100)]
    return Made(texts * 2, [[row] for row in range(100)] * 2, [said(rng, WORDS, 1, 1) for _ in range(100)], 100)


def dominant(rng: Random) -> Made:
    """One label belongs to half of the items, whatever they say; what texts tell of the others is weak."""
    about = topics(rng, 130)
    share = 1 / np.arange(1, 131)
    chosen = rng.choice(130, 400, p=share / share.sum())
    texts = [said(rng, about[label], 1, 5) for label in chosen]
    links = [[int(label) + 1, *([0] if rng.random() < 0.5 else [])] for label in chosen]
    return Made(texts, links, ["everything", *(" ".join(topic[:2]) for topic in about)], 100)


def texts_tell(rng: Random) -> Made:
    """Texts tell all; pictures are drawn at random."""
    about, chosen = topics(rng, 20), rng.integers(0, 20, 300)
    colours: list[int | None] = [int(c) for c in rng.integers(0, 12, 300)]
    return Made([said(rng, about[c], 3, 2) for c in chosen], [[int(c)] for c in chosen],
                [" ".join(topic[:2]) for topic in about], 100, colours)  # fmt: skip


def pictures_tell(rng: Random) -> Made:
    """Pictures tell all; texts are noise."""
    chosen = rng.integers(0, 12, 300)
    return Made([said(rng, WORDS, 0, 4) for _ in chosen], [[int(c)] for c in chosen],
                [f"colour {c}" for c in range(12)], 100, [int(c) for c in chosen])  # fmt: skip


def both_needed(rng: Random) -> Made:
    """A label is a pair of a topic, told by the text, and a colour, told by the picture."""
    about = topics(rng, 5)
    topic, colour = rng.integers(0, 5, 400), rng.integers(0, 4, 400)
    links = [[int(4 * t + c)] for t, c in zip(topic, colour, strict=True)]
    return Made([said(rng, about[t], 3, 2) for t in topic], links,
                [f"{about[n // 4][0]} {n % 4}" for n in range(20)], 100, [int(c) for c in colour])  # fmt: skip


def long_tail(rng: Random) -> Made:
    """Most labels have one to three items."""
    about, share = topics(rng, 120), 1 / np.arange(1, 121) ** 0.8
    chosen = rng.choice(120, 400, p=share / share.sum())
    return Made([said(rng, about[c], 3, 1) for c in chosen], [[int(c)] for c in chosen],
                [" ".join(topic[:3]) for topic in about], 100)  # fmt: skip


def names_tell(rng: Random) -> Made:
    """A text holds its label's words."""
    names = [said(rng, WORDS, 0, 2) for _ in range(60)]
    chosen = rng.integers(0, 60, 300)
    return Made([f"{names[c]} {said(rng, WORDS, 0, 2)}" for c in chosen], [[int(c)] for c in chosen], names, 100)


def zero_shot(rng: Random) -> Made:
    """Half of the test items have a label that no training item has; its words are in their texts."""
    names = [said(rng, WORDS, 0, 3) for _ in range(40)]
    train, test = rng.integers(0, 30, 250), np.r_[rng.integers(0, 30, 50), rng.integers(30, 40, 50)]
    chosen = np.r_[train, test]
    texts = [f"{names[c]} {said(rng, WORDS, 0, 1)}" for c in chosen]
    return Made(texts, [[int(c)] for c in chosen], names[:30], 100, unseen=names[30:])


def equal_texts(rng: Random) -> Made:
    """All texts are the same and there are no pictures: frequency is all that can be known."""
    chosen = rng.choice(8, 200, p=np.array([4, 2, 1, 1, 1, 1, 1, 1]) / 12)
    return Made(["a thing"] * 200, [[int(c)] for c in chosen], [f"name {c}" for c in range(8)], 60)


def equal_pictures(rng: Random) -> Made:
    """Texts tell, and every item has the same placeholder picture."""
    made = texts_tell(rng)
    made.colours = [3] * len(made.texts)
    return made


def one_label(rng: Random) -> Made:
    """There is one label."""
    return Made([said(rng, WORDS, 0, 4) for _ in range(60)], [[0]] * 60, ["the label"], 20)


def five_items(rng: Random) -> Made:
    """Five items, two of them of the test."""
    return Made(
        ["red shoe", "blue hat", "red boot", "red shoe", "blue hat"], [[0], [1], [0], [0], [1]], ["red", "blue"], 2
    )


def many_labels(rng: Random) -> Made:
    """Thousands of labels for some tens of items."""
    texts = [said(rng, WORDS, 0, 6) for _ in range(40)]
    return Made(texts + texts[:10], [[row] for row in range(40)] + [[row] for row in range(10)],
                [f"label {n}" for n in range(3000)], 10)  # fmt: skip


FLOORS: dict[Callable[[Random], Made], float] = {
    one_item_a_label: 0.95,
    dominant: 0.5,
    texts_tell: 0.9,
    pictures_tell: 0.9,
    both_needed: 0.75,
    long_tail: 0.55,
    names_tell: 0.85,
    zero_shot: 0.45,
    equal_texts: 0.2,
    equal_pictures: 0.9,
    one_label: 1.0,
    five_items: 1.0,
    many_labels: 1.0,
}
"""Each catalogue and the P@1 that the model must reach on its test items; of `zero_shot`, half can be reached."""
