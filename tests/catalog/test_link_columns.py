"""Columns that change the meaning of links: named, and used, conditioned on or ignored by a setting."""

from __future__ import annotations

import polars as pl
import pytest

from mufin_model.catalog.link_columns import words
from mufin_model.errors import CatalogError, SettingError

from .conftest import Tiny

KINDS = ["generic", "csv", "jsonl"]


def written(tiny: Tiny, kind: str, **columns: object) -> None:
    """The tiny catalogue, its train table with further columns."""
    tiny.tables["train"] = tiny.tables["train"].with_columns(**columns)
    tiny.write()
    if kind == "generic":
        return
    for name, table in tiny.tables.items():
        (tiny.folder / f"{name}.parquet").unlink()
        if kind == "jsonl":
            table.write_ndjson(tiny.folder / f"{name}.jsonl")
        else:
            lists = [column for column, dtype in table.schema.items() if dtype == pl.List(pl.String)]
            table.with_columns(pl.col(lists).list.join(";")).write_csv(tiny.folder / f"{name}.csv")


def ratings() -> pl.Expr:
    """-1, 0, 1, 2, -1, ... of the 16 training links."""
    return pl.int_range(pl.len()) % 4 - 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rating", pl.lit(-1)),
        ("rating", ratings()),
        ("userRating", ratings()),
        ("Score", ratings() / 2),
        ("weight", pl.lit(0.0)),
        ("label", (ratings() > 0).cast(pl.Int8)),
        ("is_relevant", ratings() > 0),
        ("event", pl.when(ratings() > 0).then(pl.lit("purchase")).otherwise(pl.lit("return"))),
        ("feedback", pl.lit("dislike")),
    ],
)
def test_refused_without_a_setting(tiny: Tiny, kind: str, name: str, value: pl.Expr) -> None:
    written(tiny, kind, **{name: value})
    with pytest.raises(CatalogError, match=f"column '{name}' may change what a link means") as caught:
        tiny.ingest()
    assert caught.value.where.endswith(f", column {name}")
    assert f"'ingest.ignore_columns=[{name}]'" in caught.value.mend
    assert tiny.ingest(f"ingest.ignore_columns=[{name}]").links("train").nnz > 0


@pytest.mark.parametrize("kind", KINDS)
def test_links_below_the_least_value_are_left_out(tiny: Tiny, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    written(tiny, kind, rating=ratings())
    catalog = tiny.ingest("ingest.keep_links={rating: 1}", "ingest.validation_fraction=0")
    kept = tiny.tables["train"].filter(pl.col("rating") >= 1)
    assert catalog.links("train").nnz == kept.height == 8
    assert "8 links left out by ingest.keep_links" in capsys.readouterr().out


def test_links_of_some_words_are_kept(tiny: Tiny) -> None:
    event = pl.when(ratings() > 0).then(pl.lit("purchase")).otherwise(pl.lit("return"))
    written(tiny, "csv", event=event)
    assert tiny.ingest("ingest.keep_links={event: [purchase]}", "ingest.validation_fraction=0").links("train").nnz == 8


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_carried_with_the_links(tiny: Tiny, kind: str) -> None:
    once = tiny.tables["train"].with_columns(rating=ratings() + 2)
    tiny.tables["train"] = pl.concat([once, once.with_columns(rating=pl.col("rating") * 3)])
    written(tiny, kind)
    tiny.ingest("ingest.weight_column=rating")
    folder = tiny.workspace.read("demo", "raw_descriptors")
    links, items = pl.read_parquet(folder / "links.parquet"), pl.read_parquet(folder / "items.parquet")
    assert links.schema["weight"] == pl.Float32
    labels = pl.read_parquet(folder / "labels.parquet")
    told = {
        (items["id"][item], labels["id"][label]): weight
        for item, label, weight in links.filter(pl.col("split").is_in(["train", "val"]))
        .select("item", "label", "weight")
        .iter_rows()
    }
    pairs = zip(once["item_id"], once["label_id"], strict=True)
    assert told == dict(zip(pairs, once["rating"] * 3, strict=True))
    assert links.filter(pl.col("split") == "test")["weight"].unique().to_list() == [1.0]


def test_no_column_of_weights_without_the_setting(tiny: Tiny) -> None:
    tiny.write()
    tiny.ingest()
    assert pl.read_parquet_schema(tiny.workspace.read("demo", "raw_descriptors") / "links.parquet").keys() == {
        "item", "label", "split",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "what"),
    [(ratings(), "8 links have a weight of zero or less"), (pl.lit("much"), "16 links have no number")],
)
def test_weights_are_numbers_above_zero(tiny: Tiny, values: pl.Expr, what: str) -> None:
    written(tiny, "csv", rating=values)
    with pytest.raises(CatalogError, match=what):
        tiny.ingest("ingest.weight_column=rating")


def test_kept_links_may_be_weighed(tiny: Tiny) -> None:
    written(tiny, "csv", rating=ratings())
    tiny.ingest("ingest.weight_column=rating", "ingest.keep_links={rating: 1}")
    weights = pl.read_parquet(tiny.workspace.read("demo", "raw_descriptors") / "links.parquet")["weight"]
    assert sorted(weights.unique()) == [1.0, 2.0]


@pytest.mark.parametrize("setting", ["ingest.weight_column=ratin", "ingest.keep_links={ratin: 1}"])
def test_a_setting_of_no_column(tiny: Tiny, setting: str) -> None:
    written(tiny, "csv", rating=ratings())
    assert any(isinstance(error, SettingError) and "'rating'" in error.mend for error in tiny.check(setting))


@pytest.mark.parametrize("kind", KINDS)
def test_harmless_columns_are_named_and_nothing_is_refused(
    tiny: Tiny, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.tables["items"] = tiny.tables["items"].with_columns(rating=pl.int_range(pl.len()))
    written(tiny, kind, rating=pl.lit(5), timestamp=pl.int_range(pl.len()), colour=pl.lit("red"))
    tiny.ingest()
    told = capsys.readouterr().out
    assert ": columns that are not read: rating, timestamp, colour;" in told
    assert ": columns that are not read: rating;" in told
    tiny.ingest("ingest.ignore_columns=[rating, timestamp, colour, kind]")
    assert "not read" not in capsys.readouterr().out


def test_rows_of_errors_are_those_of_the_file(tiny: Tiny) -> None:
    tiny.tables["train"] = tiny.tables["train"].with_columns(
        item_id=pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("x")).otherwise("item_id")
    )
    written(tiny, "csv", rating=ratings())
    with pytest.raises(CatalogError, match="unknown item ids") as caught:
        tiny.ingest("ingest.keep_links={rating: 1}")
    assert caught.value.rows == ["row 7: item_id='x', label_id='a'"]


def test_words() -> None:
    assert words("userRating") == words("user_rating") == words("User Rating 2") == {"user", "rating"}
