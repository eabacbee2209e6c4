"""The embedded demo catalogue: household goods, and which of them go together.

    write(Path("data/demo/catalog"), items=2000, seed=22)

Two products go together when they are of one series (a word of the title that no picture shows) and of one
colour (which the picture shows, and one title in three names); an equal pattern makes it likelier. So
neither text nor image tells all: that is what a multi-modal model is for. Measured with 2000 items, seed 22, by
the labels of the training items that share what is known (P@1, P@5 in per cent; filter pairs removed):

    nothing known: the most frequent labels    6.6   3.6
    the series alone                          11.8   8.6
    the colour alone                          12.6   8.8
    series and colour                         72.8  54.1
    30 nearest neighbours by TF-IDF           12.4   8.4
    ... by the pictures' mean colour           8.8   7.1
    ... by the product of the two             36.8  26.6
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from mufin_model.catalog.drawing import COLOURS, PATTERNS, SHAPES, SILHOUETTES, draw
from mufin_model.errors import SettingError
from mufin_model.progress import track

FEWEST = 40
"""Items below which some split or table would be empty."""

SERIES = ("Alder", "Birka", "Corvo", "Dalen", "Ekero", "Fjord", "Gavle", "Holm")
MAKERS = ("Nordhem", "Casa Lume", "Old Mill", "Brightwater", "Tandem", "Korpi")
MATERIALS = ("oak", "steel", "ceramic", "wool", "linen", "bamboo", "glass", "rattan")
REMARKS = ("", "", "new this season", "hand finished", "easy to clean", "for small rooms", "gift boxed", "set of two")

LABEL_SHARE = 0.37
"""Products that are labels too: those that buyers add to a basket."""
ZERO_SHOT_SHARE = 0.02
"""Products that are labels of test items alone."""
TEST_SHARE = 0.25
VIEWS = (0.05, 0.35, 0.3, 0.2, 0.1)
"""Probability of 0, 1, ... pictures."""
NO_TEXT = 0.02
NAMES_COLOUR = 0.33
"""Titles that name the colour or else the pattern, as often the one as the other."""
SAME_PATTERN = 2.5
"""How much likelier a label of the item's own pattern is."""
POPULARITY = 0.9
"""Zipf's exponent of the labels' popularity."""
NOISE = 0.08
"""Links that follow no rule."""
LEAST_LINKS, MOST_LINKS = 3, 8


@dataclass(frozen=True)
class Products:
    """Attributes of all products, each int64 [items], by place in the tuples above."""

    category: np.ndarray
    shape: np.ndarray
    colour: np.ndarray
    pattern: np.ndarray
    series: np.ndarray
    views: np.ndarray
    text: list[str]

    def __len__(self) -> int:
        return len(self.category)


def write(folder: Path, items: int, seed: int) -> None:
    """Draw a catalogue in the generic format; equal arguments give equal bytes.

    Args:
        folder: where its files go; made if missing.
        items: how many products.
        seed: of all that is random.

    Raises:
        SettingError: fewer than FEWEST items.
    """
    if items < FEWEST:
        raise SettingError(f"{items} items are too few", where="items", mend=f"ask for {FEWEST} at least")
    rng = np.random.default_rng(seed)
    products = _products(items, rng)
    labels, unseen = _labels(items, rng)
    test = np.zeros(items, dtype=bool)
    test[rng.permutation(items)[: round(items * TEST_SHARE)]] = True
    links = _links(products, labels, unseen, test, rng)
    # What training never shows cannot be a seen label.
    trained = np.unique(links[~test[links[:, 0]], 1])
    tested = np.unique(links[test[links[:, 0]], 1])
    seen, unseen = np.intersect1d(labels, trained), np.intersect1d(unseen, tested)

    folder.mkdir(parents=True, exist_ok=True)
    ids = np.array([f"P{row:05d}" for row in range(items)])
    table = _draw(folder, products, ids, rng)
    table.with_columns(split=pl.Series(np.where(test, "test", "train"))).write_parquet(folder / "items.parquet")
    table[seen].write_parquet(folder / "labels.parquet")
    table[unseen].write_parquet(folder / "zeroshot_labels.parquet")
    of_test, of_seen = test[links[:, 0]], np.isin(links[:, 1], seen)
    for name, chosen in (
        ("train", ~of_test),
        ("test", of_test & of_seen),
        ("test_zeroshot", of_test & np.isin(links[:, 1], unseen)),
    ):
        _pairs(ids, links[chosen]).write_parquet(folder / f"{name}.parquet")
    for name, side in (("filter_train", ~test), ("filter_test", test)):
        _filters(ids, links, np.concatenate([seen, unseen]), side).write_parquet(folder / f"{name}.parquet")


def _products(items: int, rng: np.random.Generator) -> Products:
    # Fewer series and colours for few items, so that about 30 products share both.
    kinds = int(np.clip(round((items / 30) ** 0.5), 2, len(SERIES)))
    category = rng.integers(len(SILHOUETTES), size=items)
    shape = rng.integers(len(SHAPES), size=items)
    colour = rng.integers(min(kinds, len(COLOURS)), size=items)
    pattern = rng.integers(len(PATTERNS), size=items)
    series = rng.integers(kinds, size=items)
    views = rng.choice(len(VIEWS), size=items, p=VIEWS)
    names, colours, shapes = list(SILHOUETTES), list(COLOURS), list(SHAPES)
    named = rng.random(items)
    text = []
    for row in range(items):
        seen = ""
        if named[row] < NAMES_COLOUR / 2:
            seen = colours[colour[row]]
        elif named[row] < NAMES_COLOUR:
            seen = PATTERNS[pattern[row]]
        shown = shapes[shape[row]] if rng.random() < 0.3 else ""
        words = [
            str(rng.choice(MAKERS)), SERIES[series[row]], shown, seen, names[category[row]], "in",
            str(rng.choice(MATERIALS)),
        ]  # fmt: skip
        remark = str(rng.choice(REMARKS))
        text.append(" ".join(word for word in words if word) + (f", {remark}" if remark else ""))
    for row in np.flatnonzero((rng.random(items) < NO_TEXT) & (views > 0)).tolist():
        text[row] = ""
    return Products(category, shape, colour, pattern, series, views, text)


def _labels(items: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Products that are labels in training, and those that are labels of test items alone."""
    order = rng.permutation(items)
    n_unseen, n_seen = max(2, round(items * ZERO_SHOT_SHARE)), round(items * LABEL_SHARE)
    return np.sort(order[:n_seen]), np.sort(order[n_seen : n_seen + n_unseen])


def _links(
    products: Products, labels: np.ndarray, unseen: np.ndarray, test: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Pairs (item, label) of products, int64 [links, 2], sorted; no product is its own label."""
    everything = np.concatenate([labels, unseen])
    rank = rng.permutation(len(everything)) + 1.0
    popular = (rank / len(everything)) ** -POPULARITY
    popular[len(labels) :] = np.median(popular)  # zero-shot labels are neither head nor tail
    is_unseen = np.arange(len(everything)) >= len(labels)
    anywhere = popular / popular.sum()
    out = []
    for item in range(len(products)):
        fits = (products.series[everything] == products.series[item]) & (
            products.colour[everything] == products.colour[item]
        )
        fits &= (everything != item) & (test[item] | ~is_unseen)
        same = products.pattern[everything] == products.pattern[item]
        weight = np.where(fits, popular**0.6 * np.where(same, SAME_PATTERN, 1.0), 0.0)
        wanted = min(int(rng.integers(LEAST_LINKS, MOST_LINKS + 1)), int(fits.sum()))
        chosen = set()
        if wanted:
            chosen.update(rng.choice(len(everything), wanted, replace=False, p=weight / weight.sum()).tolist())
        missing = max(LEAST_LINKS - len(chosen), int(rng.binomial(wanted, NOISE)))
        for label in rng.choice(len(everything), missing, p=anywhere).tolist():
            if everything[label] != item and (test[item] or not is_unseen[label]):
                chosen.add(label)
        out += [(item, int(everything[label])) for label in sorted(chosen)]
    return np.array(sorted(set(out)), dtype=np.int64)


def _filters(ids: np.ndarray, links: np.ndarray, labels: np.ndarray, side: np.ndarray) -> pl.DataFrame:
    """Pairs that say nothing: a product with itself, and the mirror image of a training link."""
    own = labels[side[labels]]
    itself = _pairs(ids, np.stack([own, own], axis=1)).with_columns(kind=pl.lit("self"))
    mirrored = links[:, ::-1]
    mirrored = mirrored[side[mirrored[:, 0]] & ~side[mirrored[:, 1]] & np.isin(mirrored[:, 1], labels)]
    mirror = _pairs(ids, mirrored).with_columns(kind=pl.lit("reciprocal"))
    return pl.concat([itself, mirror]).unique(["item_id", "label_id"], keep="first").sort("item_id", "label_id")


def _pairs(ids: np.ndarray, links: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"item_id": ids[links[:, 0]], "label_id": ids[links[:, 1]]})


def _draw(folder: Path, products: Products, ids: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    """Write images.parquet; the table of all products: id, text, image_paths."""
    names, colours, shapes = list(SILHOUETTES), list(COLOURS), list(SHAPES)
    paths: list[list[str]] = []
    images: dict[str, bytes] = {}
    for row in track(range(len(products)), "drawing"):
        own = [f"images/{ids[row]}_{view}.jpg" for view in range(products.views[row])]
        for path in own:
            images[path] = draw(
                names[products.category[row]],
                shapes[products.shape[row]],
                colours[products.colour[row]],
                PATTERNS[products.pattern[row]],
                rng,
            )
        paths.append(own)
    packed = pl.DataFrame({"path": list(images), "bytes": list(images.values())})
    packed.write_parquet(folder / "images.parquet", row_group_size=1024)
    return pl.DataFrame(
        {"id": ids, "text": products.text, "image_paths": paths}, schema_overrides={"image_paths": pl.List(pl.String)}
    )
