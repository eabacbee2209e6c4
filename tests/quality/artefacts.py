"""A small dataset that keeps every rule, and for each rule a way to break it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from PIL import Image

from mufin_model.artefacts import write_json
from mufin_model.catalog.image_store import SCHEMA

from . import later

DATASET = "tiny"
RAW, ENC = "raw_descriptors", "encoder_embeddings"
ROWS = pl.List(pl.UInt32)
SPLITS = ["train"] * 8 + ["val"] * 2 + ["test"] * 4


def write_good(root: Path) -> None:
    """14 items (one without text, one without image), 5 labels (the last zero-shot), 12 images."""
    raw, enc = _folder(root, RAW), _folder(root, ENC)
    n = len(SPLITS)
    items = pl.DataFrame(
        {
            "id": [f"i{row}" for row in range(n)],
            "text": ["" if row == 3 else f"item {row}" for row in range(n)],
            "images": [
                [] if row == 4 else [row if row < 12 else row - 2] for row in range(n)
            ],  # test items share theirs
            "split": SPLITS,
        },
        schema_overrides={"images": ROWS},
    )
    labels = pl.DataFrame(
        {
            "id": [f"l{row}" for row in range(5)],
            "text": [f"label {row}" for row in range(5)],
            "images": [[row] for row in range(5)],
            "zero_shot": [False] * 4 + [True],
        },
        schema_overrides={"images": ROWS},
    )
    links = [(row, row % 4, split) for row, split in enumerate(SPLITS)] + [(13, 4, "zero_shot")]
    pairs = {"item": pl.UInt32, "label": pl.UInt32}
    items.write_parquet(raw / "items.parquet")
    labels.write_parquet(raw / "labels.parquet")
    pl.DataFrame(links, {**pairs, "split": pl.String}, orient="row").write_parquet(raw / "links.parquet")
    pl.DataFrame([(0, 1), (10, 0)], pairs, orient="row").write_parquet(raw / "filters.parquet")
    write_images(root, [png(row) for row in range(12)])
    rng = np.random.default_rng(0)
    write_array(root, "image.npy", _unit(rng.standard_normal((12, 6))))
    text = _unit(rng.standard_normal((n + 5, 4)))
    text[3] = 0
    write_array(root, "text.npy", text)
    (enc / "meta.json").write_text("{}")
    later.write_good(root / "data" / DATASET)


def png(seed: int, size: tuple[int, int] = (8, 8)) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return _png(Image.fromarray(noise))


def write_images(root: Path, files: list[bytes]) -> None:
    """The store as `ingest` leaves it, but one chunk, in which images may be equal."""
    folder = _folder(root, RAW) / "images"
    folder.mkdir(exist_ok=True)
    with pa.ipc.new_file(str(folder / "chunk.arrow"), SCHEMA) as writer:
        writer.write_batch(pa.record_batch([pa.array(files, pa.large_binary())], schema=SCHEMA))
    write_json(folder / "index.json", {"image_size": 8, "chunks": [["chunk", len(files)]]})


def write_array(root: Path, file: str, array: np.ndarray) -> None:
    np.save(_folder(root, ENC) / file, array.astype(np.float16))


def _folder(root: Path, noun: str) -> Path:
    folder = root / "data" / DATASET / noun
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _unit(array: np.ndarray) -> np.ndarray:
    return array / np.linalg.norm(array, axis=1, keepdims=True)


Break = Callable[[Path], None]


def change_table(file: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Break:
    def apply(root: Path) -> None:
        path = _folder(root, RAW) / f"{file}.parquet"
        change(pl.read_parquet(path)).write_parquet(path)

    return apply


def set_cell(file: str, column: str, row: int, value: object) -> Break:
    def change(frame: pl.DataFrame) -> pl.DataFrame:
        values = frame[column].to_list()
        values[row] = value
        return frame.with_columns(pl.Series(column, values, dtype=frame.schema[column], strict=False))

    return change_table(file, change)


def _all(file: str, column: str, value: object) -> Break:
    return change_table(file, lambda f: f.with_columns(pl.Series(column, [value] * f.height, dtype=f.schema[column])))


def _links(*more: tuple[int, int, str | None]) -> Break:
    return change_table("links", lambda f: pl.concat([f, pl.DataFrame(list(more), f.schema, orient="row")]))


def _array(file: str, change: Callable[[np.ndarray], np.ndarray | None]) -> Break:
    def apply(root: Path) -> None:
        array = np.load(_folder(root, ENC) / file)
        changed = change(array)
        write_array(root, file, array if changed is None else changed)

    return apply


def _fill(row: int, column: int | slice, value: float) -> Callable[[np.ndarray], None]:
    def change(array: np.ndarray) -> None:
        array[row, column] = value

    return change


def _images(file: bytes, count: int) -> Break:
    return lambda root: write_images(root, [file] * count + [png(s) for s in range(count, 12)])


def _in_dataset(change: Break) -> Break:
    return lambda root: change(root / "data" / DATASET)


def _texts(new: dict[int, str]) -> Break:
    def change(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(
            pl.Series("text", [new.get(row, text) for row, text in enumerate(frame["text"].to_list())])
        )

    return change_table("items", change)


def _where_test(value: pl.Expr, otherwise: pl.Expr) -> pl.Expr:
    return pl.when(pl.col("split") == "test").then(value).otherwise(otherwise)


def brighter(file: bytes) -> bytes:
    """The same picture, half as dark: another file, the same sight."""
    image = Image.open(io.BytesIO(file))
    return _png(image.point([128 + value // 2 for value in range(256)] * 3))


WHOLE = slice(None)
NAN, INF = float("nan"), float("inf")
FLAT = _png(Image.new("RGB", (8, 8), "white"))

BAD: dict[str, list[Break]] = {
    "schema": [
        change_table("items", lambda f: f.drop("text")),
        change_table("links", lambda f: f.with_columns(pl.col("item").cast(pl.Int64))),
        lambda root: (_folder(root, RAW) / "filters.parquet").unlink(),
    ],
    "item_ids_not_null": [set_cell("items", "id", 2, None)],
    "item_ids_unique": [set_cell("items", "id", 2, "i1")],
    "label_ids_not_null": [set_cell("labels", "id", 2, None)],
    "label_ids_unique": [set_cell("labels", "id", 2, "l1")],
    "references_known": [
        _links((99, 0, "train")),
        _links((0, 99, "train")),
        set_cell("filters", "item", 0, 99),
        set_cell("filters", "label", 0, 99),
        set_cell("items", "images", 0, [12]),
        set_cell("labels", "images", 0, [12]),
    ],
    "links_unique": [_links((0, 0, "train"))],
    "item_splits_not_null": [set_cell("items", "split", 0, None)],
    "item_splits_known": [set_cell("items", "split", 0, "training")],
    "link_splits_not_null": [_links((0, 3, None))],
    "link_splits_known": [_links((0, 3, "training"))],
    "splits_not_empty": [
        change_table("links", lambda f: f.filter(pl.col("split") != "test")),
        change_table("links", lambda f: f.filter(pl.col("split") != "train")),
    ],
    "validation_not_empty": [change_table("links", lambda f: f.filter(pl.col("split") != "val"))],
    "items_in_one_split": [set_cell("items", "id", 13, "i0")],
    "links_within_split": [_links((13, 0, "train")), _links((0, 4, "zero_shot"))],
    "zero_shot_labels_unseen": [_links((0, 4, "train"))],
    "test_items_new": [
        change_table("items", lambda f: f.with_columns(text=pl.lit("same"), images=pl.lit([0], dtype=ROWS))),
    ],
    "images_decode": [
        _images(b"no image", 1),
        _images(png(0)[:-40], 1),
        _images(png(0, size=(9, 8)), 1),
    ],
    "images_not_flat": [_images(FLAT, 2)],
    "items_described": [set_cell("items", "images", 3, []), set_cell("items", "images", 3, None)],
    "labels_described": [
        change_table("labels", lambda f: f.with_columns(text=pl.lit(""), images=pl.lit([], dtype=ROWS)))
    ],
    "items_with_text": [_all("items", "text", ""), _all("items", "text", None)],
    "items_with_images": [_all("items", "images", [])],
    "labels_trained": [change_table("links", lambda f: f.filter(pl.col("label") != 2))],
    "test_texts_new": [
        set_cell("items", "text", 12, "1, Item!"),
        _texts({0: "a b c d e f g h", 12: "h g f e d c b"}),
        _texts({0: "a b c d e f g h", 12: "h g f e d c b a z"}),
    ],
    "test_pictures_new": [
        set_cell("items", "images", 12, [0]),
        lambda root: write_images(root, [*(png(row) for row in range(10)), brighter(png(0)), png(11)]),
    ],
    "modalities_alike": [
        change_table("items", lambda f: f.with_columns(text=_where_test(pl.lit(""), pl.col("text")))),
        change_table("items", lambda f: f.with_columns(images=_where_test(pl.lit([], dtype=ROWS), pl.col("images")))),
    ],
    "text_lengths_usual": [set_cell("items", "text", 5, "far too long " * 20)],
    "texts_in_one_script": [_texts({5: "красные туфли", 6: "赤い靴"}), _texts({0: "صندل", 1: "сандалии"})],
    "head_labels_share": [
        change_table("links", lambda f: f.filter((pl.col("split") != "train") | (pl.col("label") == 2))),
    ],
    "tail_labels_trained": [
        change_table("links", lambda f: f.filter((pl.col("split") != "train") | (pl.col("item") < 5))),
    ],
    "text_lengths_stable": [
        change_table("items", lambda f: f.with_columns(pl.col("text").str.pad_end(30, "x"))),
    ],
    "links_stable": [_links(*((row, (row + more) % 4, "train") for row in range(8) for more in (1, 2)))],
    "rows_match": [_array("image.npy", lambda a: a[:-1]), _array("text.npy", lambda a: np.vstack([a, a]))],
    "image_vectors_finite": [_array("image.npy", _fill(1, 2, NAN)), _array("image.npy", _fill(1, 2, INF))],
    "image_vectors_unit": [
        _array("image.npy", _fill(1, 2, 3.0)),
        _array("image.npy", _fill(1, WHOLE, 0.0)),
        _array("image.npy", _fill(1, WHOLE, NAN)),
    ],
    "text_vectors_finite": [_array("text.npy", _fill(0, 2, NAN)), _array("text.npy", _fill(0, 2, -INF))],
    "text_vectors_unit": [
        _array("text.npy", _fill(0, 2, 3.0)),
        _array("text.npy", _fill(0, WHOLE, 0.0)),
        _array("text.npy", _fill(0, WHOLE, NAN)),
    ],
    "empty_texts_zero": [_array("text.npy", _fill(3, 0, 1.0))],
    "vectors_vary": [_array("image.npy", lambda a: np.repeat(a[:1], len(a), axis=0))],
}
"""Rule to ways of breaking it, of the first two artefacts."""

_SPLIT = list(BAD).index("rows_match")

BAD_OF: dict[str, dict[str, list[Break]]] = {
    RAW: dict(list(BAD.items())[:_SPLIT]),
    ENC: dict(list(BAD.items())[_SPLIT:]),
    **{
        noun: {rule: [_in_dataset(change) for change in changes] for rule, changes in rules.items()}
        for noun, rules in later.BAD.items()
    },
}
"""Artefact to rule to ways of breaking it."""
