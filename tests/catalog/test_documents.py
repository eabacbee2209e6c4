"""docs/your-data.md and data/README.md: their snippets run, and their messages are those that are printed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from mufin_model import config
from mufin_model.artefacts import Workspace
from mufin_model.catalog import ingest, readers, schema
from mufin_model.errors import MufinError

from .conftest import PARAMS, picture

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "your-data.md").read_text()
README = (ROOT / "data" / "README.md").read_text()


def snippet(document: str) -> str:
    """The document's only piece of Python."""
    (code,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    return code


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """An empty project, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(PARAMS, tmp_path)
    return Workspace(tmp_path)


def run(stage: Callable[..., None], place: Workspace, dataset: str, source: Path) -> None:
    text = re.sub(r"(?m)^datasets:\n(  - .*\n)+", f"datasets:\n  - {dataset}\n", place.params.read_text())
    place.params.write_text(text)
    shutil.copytree(source, place.catalog(dataset), dirs_exist_ok=True)
    stage(place, dataset, config.load(place.params, dataset, []))


def test_from_orders_to_a_catalogue(place: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    raw = Path("raw")
    (raw / "photos").mkdir(parents=True)
    for number in range(40):
        (raw / "photos" / f"{number}.jpg").write_bytes(picture((number * 6, 90, 200)))
    lines = ["sku,title,photos", *(f'{number:03},"a title, number {number}",{number}.jpg' for number in range(40))]
    (raw / "products.csv").write_text("\n".join(lines))
    orders = [
        f"{order},{(order * step + shift) % 40:03}" for order in range(60) for step, shift in ((1, 0), (3, 1), (7, 2))
    ]
    (raw / "orders.csv").write_text("\n".join(["order,sku", *orders]))
    exec(snippet(GUIDE), {})
    run(ingest.check, place, "boutique", Path("shop"))
    told = capsys.readouterr().out.splitlines()[-1]
    assert told in GUIDE
    assert told.startswith("boutique: nothing is wrong with it: 40 items, ")
    items = readers.read(Path("shop"), "auto").tables["items"]
    assert items.row(7) == ("007", "a title, number 7", ["images/7.jpg"])


def test_the_smallest_catalogue(place: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    exec(snippet(README), {})
    run(ingest.run, place, "shop", Path("shop"))
    assert f"$ mufin ingest -d shop\n{capsys.readouterr().out.splitlines()[-1]}\n" in README


TABLES = {
    "items": [
        "id,text,image_paths",
        "p1,red oak chair,images/p1.jpg",
        "p2,teal vase,images/p2.jpg",
        "p3,,images/p3.jpg",
        "p4,oak table,",
    ],
    "labels": ["id,text", "l1,chair cushion", "l2,cut flowers"],
    "train": ["item_id,label_id", "p1,l1", "p2,l2", "p3,l2"],
    "test": ["item_id,label_id", "p4,l1"],
}
"""The catalogue of data/README.md as CSV."""


def catalogue(shop: Path) -> None:
    (shop / "images").mkdir(parents=True)
    for name, lines in TABLES.items():
        (shop / f"{name}.csv").write_text("\n".join(lines))
    for number in range(1, 4):
        (shop / "images" / f"p{number}.jpg").write_bytes(picture())


def replaced(name: str, old: str, new: str, encoding: str = "utf-8") -> Callable[[Path], object]:
    def spoil(shop: Path) -> None:
        text = (shop / f"{name}.csv").read_text()
        assert old in text
        (shop / f"{name}.csv").write_text(text.replace(old, new, 1), encoding=encoding)

    return spoil


def numbered(shop: Path) -> None:
    for name in TABLES:
        pl.read_csv(shop / f"{name}.csv").write_parquet(shop / f"{name}.parquet")
        (shop / f"{name}.csv").unlink()
    items = pl.read_parquet(shop / "items.parquet").with_columns(pl.col("image_paths").str.split(";"))
    items.write_parquet(shop / "items.parquet")
    train = pl.DataFrame({"item_id": [1, 2, 3], "label_id": ["l1", "l2", "l2"]})
    train.write_parquet(shop / "train.parquet")


def pictures(shop: Path) -> None:
    (shop / "images" / "p2.jpg").unlink()
    (shop / "images" / "p3.jpg").write_bytes(b"x")


SPOILT: dict[str, Callable[[Path], object]] = {
    "column 'id' is missing": lambda shop: (shop / "items.csv").write_text(
        "text,image_paths,item_id\nred oak chair,images/p1.jpg,p1\n"
    ),
    "1 lines have not the 3 fields": replaced("items", "red oak chair", "chair, red oak"),
    "1 lines are not UTF-8": replaced("items", "teal vase", "żółta ławka", "cp1250"),
    "column 'item_id' holds Int64": numbered,
    "1 links lead to": lambda shop: replaced("train", "p3,l2", "p3,l2\np9,l1")(shop),
    "1 ids occur more than once": replaced("items", "p4,oak table,", "p4,oak table,\np1,red oak chair,"),
    "1 test items have links": replaced("train", "p3,l2", "p3,l2\np4,l2"),
    "1 rows have image paths outside": replaced("items", "images/p1.jpg", "/mnt/photos/p1.jpg"),
    "3 of 3 image paths are URLs": lambda shop: (shop / "items.csv").write_text(
        (shop / "items.csv").read_text().replace("images/", "https://cdn.example.com/")
    ),
    "the column 'rating' may change": lambda shop: (shop / "train.csv").write_text(
        "item_id,label_id,rating\np1,l1,5\np2,l2,5\np3,l2,1\n"
    ),
    "2 images are missing": pictures,
}
"""What each message of the guide begins with, and the mistake that it tells of."""


def messages() -> list[str]:
    """The messages of the guide about a catalogue."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    found = (re.search(r"(?m)^(CatalogError|ImageError): (.*\n)(  .*\n)*", block) for block in blocks)
    return [match.group().rstrip("\n") for match in found if match]


def test_every_message_is_tried() -> None:
    assert sorted(SPOILT) == sorted(start for text in messages() for start in SPOILT if f": {start}" in text)
    assert len(messages()) == len(SPOILT)


@pytest.mark.parametrize("message", messages(), ids=lambda message: message.partition("\n")[0])
def test_message(place: Workspace, message: str) -> None:
    shop = Path("shop")
    catalogue(shop)
    schema.check(readers.read(shop, "auto"))
    (spoil,) = (spoil for start, spoil in SPOILT.items() if f": {start}" in message)
    spoil(shop)

    def look() -> None:
        if "data/shop/catalog" in message:
            run(ingest.run, place, "shop", shop)
        else:
            schema.check(readers.read(shop, "auto"))

    with pytest.raises(MufinError) as caught:
        look()
    assert str(caught.value).replace(f"{place.root}/", "") == message
