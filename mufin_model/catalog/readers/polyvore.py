"""Polyvore Outfits (Vasileva et al., ECCV 2018): which products people put together, as links from product to product.

    polyvore_item_metadata.json                {"<item id>": {"title": ..., "url_name": ..., ...}, ...}
    images/<item id>.jpg
    {nondisjoint,disjoint}/                    one of the two, or its files beside the others
      train.json, test.json                    [{"set_id": ..., "items": [{"item_id": ..., "index": 1}, ...]}, ...]
      fill_in_blank_test.json                  [{"question": ["<set id>_<index>", ...], "answers": [four such]}, ...]
      compatibility_test.txt                   "1 <set id>_<index> <set id>_<index> ...", 0 where it was thrown together

Every product of a training or test outfit is an item and a label, and linked to the others of its outfits; itself is
filtered out. Products of training outfits are training items, and their test outfits serve the questions alone.
valid.json is not read, as validation items are drawn from the training items; nor is any pickle. A text is the title,
or the name in the shop's address where there is none. The right answer is the one of the question's own outfit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from mufin_model.catalog.columns import IMAGES
from mufin_model.catalog.faults import all_of
from mufin_model.catalog.image_files import ImageFiles
from mufin_model.catalog.json_entries import entries, whole
from mufin_model.catalog.lines import SHOWN, blocks, fault
from mufin_model.catalog.outfits import PRODUCTS, Questions
from mufin_model.catalog.schema import Source
from mufin_model.errors import CatalogError

METADATA = "polyvore_item_metadata.json"
SPLITS = ("nondisjoint", "disjoint")


def recognises(folder: Path) -> bool:
    """True where the products' metadata lie, or the outfits of either split."""
    return (folder / METADATA).is_file() or any((folder / split / "train.json").is_file() for split in SPLITS)


def read(folder: Path) -> Source:
    """Read the tables and the questions.

    Raises:
        CatalogError: a file is missing or damaged, both splits are there, or a question is about unknown products.
    """
    outfits = _split(folder)
    parts = all_of({name: partial(_Outfits.read, outfits / f"{name}.json") for name in ("train", "test")})
    train, test = (parts[name].products() for name in ("train", "test"))
    products = pl.concat([train, test.filter(~test.is_in(train.implode()))])
    items = pl.DataFrame({"id": products}).with_columns(
        _texts(folder / METADATA, products),
        _images(folder, products),
        split=pl.when(pl.int_range(pl.len()) < len(train)).then(pl.lit("train")).otherwise(pl.lit("test")),
    )
    itself = pl.DataFrame({"item_id": products, "label_id": products})
    tables = {
        "items": items,
        "labels": items.drop("split"),
        "train": parts["train"].links(),
        "test": parts["test"].links().filter(~pl.col("item_id").is_in(train.implode())),
        "filter_train": itself.head(len(train)),
        "filter_test": itself.slice(len(train)),
    }
    of_items = dict.fromkeys(("items", "labels"), str(folder / METADATA))
    files = {
        name: of_items.get(name, str(outfits / f"{'train' if 'train' in name else 'test'}.json")) for name in tables
    }
    return Source(tables, ImageFiles(folder), files, questions=_questions(outfits, parts["test"]))


@dataclass(frozen=True)
class _Outfits:
    """The outfits of one file: set, index, product; a row each product."""

    table: pl.DataFrame

    @classmethod
    def read(cls, file: Path) -> _Outfits:
        sets: list[str] = []
        indices: list[int] = []
        products: list[str] = []
        bad: list[tuple[int | str, str]] = []
        known: set[str] = set()
        for number, outfit in entries(file, list):
            try:
                name, members = _outfit(outfit, known)
            except ValueError as error:
                bad.append((number, str(error)))
                if len(bad) == SHOWN:
                    break
                continue
            known.add(name)
            for index, product in members:
                sets.append(name)
                indices.append(index)
                products.append(product)
        if bad:
            raise _bad_entries(file, "entries are no outfits", bad)
        columns = {"set": sets, "index": indices, "product": products}
        return cls(pl.DataFrame(columns, schema={"set": pl.String, "index": pl.Int64, "product": pl.String}))

    def products(self) -> pl.Series:
        """Distinct, in the order of the file."""
        return self.table["product"].unique(maintain_order=True)

    def links(self) -> pl.DataFrame:
        """item_id, label_id: all pairs of different products of an outfit, both ways."""
        one, other = self.table.select("set", item_id="product"), self.table.select("set", label_id="product")
        pairs = one.join(other, on="set", maintain_order="left_right").select("item_id", "label_id")
        return pairs.filter(pl.col("item_id") != pl.col("label_id")).unique(maintain_order=True)

    def places(self) -> dict[str, str]:
        """The product at each "<set id>_<index>"."""
        return {f"{name}_{index}": product for name, index, product in self.table.iter_rows()}


def _split(folder: Path) -> Path:
    """The folder with the outfits."""
    found = [folder / split for split in SPLITS if (folder / split).is_dir()]
    if len(found) == len(SPLITS):
        raise CatalogError(
            "both splits are there, and they share products",
            where=str(folder),
            rows=[str(path) for path in found],
            mend="keep one: disjoint (no test product is in a training outfit) or nondisjoint (more training outfits)",
        )
    return found[0] if found else folder


def _outfit(outfit: Any, known: set[str]) -> tuple[str, list[tuple[int, str]]]:
    """Set id, and index and product of each of its products.

    Raises:
        ValueError: it is no outfit.
    """
    if not isinstance(outfit, dict):
        raise ValueError(f"an outfit is an object, not {type(outfit).__name__}")
    name = _id(outfit.get("set_id"), "set_id")
    if name in known:
        raise ValueError(f"set_id {name!r:.80} occurs twice")
    items = outfit.get("items")
    if not isinstance(items, list) or not items:
        raise ValueError("items is missing, empty or no list")
    members: dict[int, str] = {}
    for item in items:
        if not isinstance(item, dict) or type(item.get("index")) is not int:
            raise ValueError("an item has no index")
        if item["index"] in members:
            raise ValueError(f"index {item['index']} occurs twice")
        members[item["index"]] = _id(item.get("item_id"), "item_id")
    return name, list(members.items())


def _id(value: Any, name: str) -> str:
    if type(value) not in (str, int) or value == "":
        raise ValueError(f"{name} is missing, or neither text nor a number")
    return whole(str(value))


def _texts(file: Path, products: pl.Series) -> pl.Series:
    """The texts of products, empty where nothing is known of them."""
    place = {product: row for row, product in enumerate(products)}
    texts = [""] * len(place)
    bad: list[tuple[int | str, str]] = []
    for product, told in entries(file, dict):
        if product not in place:
            continue
        parts = [told.get(field) or "" for field in ("title", "url_name")] if isinstance(told, dict) else [None]
        if not all(isinstance(part, str) for part in parts):
            bad.append((product, "title or url_name is no text"))
            if len(bad) == SHOWN:
                break
            continue
        texts[place[str(product)]] = whole(next((part.strip() for part in parts if part.strip()), ""))  # type: ignore[union-attr]
    if bad:
        raise _bad_entries(file, "entries tell nothing of their products", bad)
    return pl.Series("text", texts, dtype=pl.String)


def _images(folder: Path, products: pl.Series) -> pl.Series:
    """The path of each product's image; none where the folder images/ was left out."""
    if not (folder / "images").is_dir():
        return pl.Series("image_paths", [[]], dtype=IMAGES).new_from_index(0, len(products))
    return pl.DataFrame({"path": "images/" + products + ".jpg"}).select(image_paths=pl.concat_list("path")).to_series()


def _questions(folder: Path, outfits: _Outfits) -> Questions | None:
    """Those of the test split; None where neither file is there."""
    blank, whole = folder / "fill_in_blank_test.json", folder / "compatibility_test.txt"
    if not blank.is_file() and not whole.is_file():
        return None
    places = outfits.places()
    filled = list(_fill_in_blank(blank, places)) if blank.is_file() else []
    judged = list(_compatibility(whole, places)) if whole.is_file() else []
    return Questions(
        pl.DataFrame(filled, {"question": PRODUCTS, "answers": PRODUCTS, "right": pl.UInt32}, orient="row"),
        pl.DataFrame(judged, {"outfit": PRODUCTS, "compatible": pl.Boolean}, orient="row"),
    )


def _fill_in_blank(file: Path, places: dict[str, str]) -> Iterator[tuple[list[str], list[str], int]]:
    bad: list[tuple[int | str, str]] = []
    for number, asked in entries(file, list):
        try:
            if not isinstance(asked, dict):
                raise ValueError(f"a question is an object, not {type(asked).__name__}")
            question, answers = (asked.get(field) for field in ("question", "answers"))
            products = _products(question, places, 1), _products(answers, places, 2)
            own = _set(question[0])  # type: ignore[index]
            right = [place for place, answer in enumerate(answers or []) if _set(answer) == own]
            if len(right) != 1:
                raise ValueError(f"{len(right)} of its answers are of its own outfit")
        except ValueError as error:
            bad.append((number, str(error)))
            if len(bad) == SHOWN:
                break
            continue
        yield *products, right[0]
    if bad:
        raise _bad_entries(file, "entries are no questions about the test outfits", bad)


def _compatibility(file: Path, places: dict[str, str]) -> Iterator[tuple[list[str], bool]]:
    bad: list[tuple[int, bytes, str]] = []
    for first, lines in blocks(file):
        for number, line in enumerate(lines, first):
            if not line.strip():
                continue
            truth, *tokens = line.decode("utf-8", "replace").split()
            try:
                if truth not in ("0", "1"):
                    raise ValueError("a line begins with 0 or 1")
                products = _products(tokens, places, 2)
            except ValueError as error:
                bad.append((number, line, str(error)))
                continue
            yield products, truth == "1"
        if bad:
            raise fault(
                file,
                f"lines are no questions about the test outfits: {bad[0][2]}",
                [(number, line) for number, line, _ in bad[:SHOWN]],
            )


def _products(tokens: Any, places: dict[str, str], least: int) -> list[str]:
    """The products of "<set id>_<index>" tokens.

    Raises:
        ValueError: they are no list of these, fewer than `least`, or one is in no outfit.
    """
    if not isinstance(tokens, list) or len(tokens) < least or not all(isinstance(token, str) for token in tokens):
        raise ValueError(f"it names fewer than {least} products")
    unknown = [token for token in tokens if token not in places]
    if unknown:
        raise ValueError(f"{unknown[0]!r:.80} is in no test outfit")
    return [places[token] for token in tokens]


def _set(token: str) -> str:
    return token.rpartition("_")[0]


def _bad_entries(file: Path, what: str, bad: list[tuple[int | str, str]]) -> CatalogError:
    return CatalogError(
        what,
        where=str(file),
        rows=[f"entry {entry!r:.80}: {reason}" for entry, reason in bad],
        mend="mend these entries, or take all files of one download",
    )
