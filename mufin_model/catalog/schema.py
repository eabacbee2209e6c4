"""The generic tables of a catalogue together, and every check that a user's mistake can fail (one table: `columns`).

A reader hands over a `Source` (tables as they stand, and where the images are); `check` proves that it
hangs together and gives it back with rows in place of ids. All checks are vectorised; each error names
the file, the column, the first offending rows (counted from 0) and the mend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from mufin_model.catalog import id_faults, link_columns
from mufin_model.catalog.columns import (
    COLUMNS,
    DESCRIBED,
    REQUIRED,
    check_ids,
    clean_texts,
    conform,
    nearest,
    offending,
    refuse,
)
from mufin_model.catalog.faults import apart, settle
from mufin_model.catalog.link_columns import LINKS, LinkColumns
from mufin_model.catalog.outfits import Questions
from mufin_model.catalog.vectors import ImageVectors
from mufin_model.errors import CatalogError

__all__ = [
    "COLUMNS",
    "DESCRIBED",
    "REQUIRED",
    "ImageSource",
    "Source",
    "Tables",
    "check",
    "conform",
    "nearest",
    "offending",
]


class ImageSource(Protocol):
    """Where a catalogue keeps its images."""

    def stream(self, paths: Iterable[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Each path with a function that reads its bytes (and may raise OSError), in an order that never changes."""
        ...


@dataclass(frozen=True)
class Source:
    """A catalogue as a reader found it.

    Attributes:
        tables: by the names of COLUMNS; REQUIRED ones are all there.
        images: where the image paths lead.
        files: the file of each table, for error messages.
        vectors: ready-made descriptors of the images, where the catalogue has them.
        notes: what was certain enough to be read otherwise than as it stands; for the log.
        questions: about outfits, for evaluation, where the catalogue has them; their products are items and labels.
    """

    tables: dict[str, pl.DataFrame]
    images: ImageSource
    files: dict[str, str] = field(default_factory=dict)
    vectors: ImageVectors | None = None
    questions: Questions | None = None
    notes: tuple[str, ...] = ()


_NO_RULES = LinkColumns()


@dataclass(frozen=True)
class Tables:
    """A catalogue that passed every check.

    Attributes:
        items: id, text (never null), image_paths (never null), split 'train' or 'test'.
        labels: id, text, image_paths, zero_shot; seen labels first.
        links: item u32, label u32, split 'train', 'test' or 'zero_shot'; distinct, in order of item and label; and
            weight f32, above 0, where `ingest.weight_column` names a column.
        filters: item u32, label u32; distinct, in the same order.
        duplicate_links: pairs that were given more than once.
        cleaned_texts: texts that `columns.clean_texts` changed.
        dropped_links: table to the links of it that `ingest.keep_links` left out.
        unread: table to its columns that nothing reads and no setting names.
    """

    items: pl.DataFrame
    labels: pl.DataFrame
    links: pl.DataFrame
    filters: pl.DataFrame
    duplicate_links: int
    cleaned_texts: int
    dropped_links: dict[str, int]
    unread: dict[str, list[str]]


def check(source: Source, rules: LinkColumns = _NO_RULES) -> Tables:
    """Check all tables and the links between them.

    Args:
        source: the catalogue.
        rules: what becomes of the further columns of links.

    Raises:
        CatalogError: the first rule that is broken.
        SettingError: a setting names a column that no table has.
    """
    tables: dict[str, pl.DataFrame] = {}
    cleaned = 0
    for name, table in source.tables.items():
        with apart():
            tables[name] = conform(table, name, _file(source, name))
            if name in DESCRIBED:
                check_ids(tables[name], _file(source, name))
                tables[name], changed = clean_texts(tables[name])
                cleaned += changed
    # A table that could not be read is not there, where faults are gathered; the links' rules need all with ids.
    if not {"items", "labels", *(name for name in DESCRIBED if name in source.files)} <= tables.keys():
        settle()
    items, labels = tables["items"], _all_labels(tables, source)
    with apart():
        link_columns.check_names(source.tables, rules)
    pairs = _pairs(tables, items, labels, source, rules)
    if "train" in pairs and "test" in pairs:
        items = _split(items, pairs, source)
    settle()
    links = [
        pairs[name].with_columns(split=pl.lit(split))
        for name, split in (("train", "train"), ("test", "test"), ("test_zeroshot", "zero_shot"))
        if name in pairs
    ]
    together = pl.concat(links)
    # Of a pair that is given twice the greatest weight counts.
    distinct = together.sort("item", "label", "weight", descending=[False, False, True])
    distinct = distinct.unique(["item", "label"], keep="first", maintain_order=True)
    given = any(rules.weight in source.tables[name].columns for name in LINKS if name in source.tables)
    distinct = distinct.select("item", "label", "split", *(["weight"] if given else []))
    none = pl.DataFrame(schema={"item": pl.UInt32, "label": pl.UInt32})
    filters = pl.concat([none, *(pairs[name] for name in ("filter_train", "filter_test") if name in pairs)])
    return Tables(
        items,
        labels,
        distinct,
        filters.unique().sort("item", "label"),
        together.height - distinct.height,
        cleaned,
        {name: source.tables[name].height - table.height for name, table in pairs.items() if name in LINKS},
        link_columns.unread(source.tables, rules),
    )


def _file(source: Source, name: str) -> str:
    return source.files.get(name, name)


def _all_labels(tables: dict[str, pl.DataFrame], source: Source) -> pl.DataFrame:
    """Seen labels, then zero-shot ones."""
    seen = tables["labels"].with_columns(zero_shot=pl.lit(False))
    if seen.is_empty():
        raise CatalogError("there are no labels", where=_file(source, "labels"), mend="add the labels to predict")
    if "zeroshot_labels" not in tables:
        if "test_zeroshot" in tables and not tables["test_zeroshot"].is_empty():
            raise CatalogError(
                "there are zero-shot links but no zero-shot labels",
                where=_file(source, "test_zeroshot"),
                mend="add the table zeroshot_labels, or remove this file",
            )
        return seen
    unseen = tables["zeroshot_labels"].with_columns(zero_shot=pl.lit(True))
    both = unseen["id"].is_in(seen["id"].implode())
    what, where = f"{both.sum():,} labels are both seen and zero-shot", f"{_file(source, 'zeroshot_labels')}, column id"
    refuse(unseen, both, ["id"], what, where, f"remove them here or from {_file(source, 'labels')}")
    return pl.concat([seen, unseen])


def _pairs(
    tables: dict[str, pl.DataFrame], items: pl.DataFrame, labels: pl.DataFrame, source: Source, rules: LinkColumns
) -> dict[str, pl.DataFrame]:
    """Each table of links by row: item u32, label u32, and weight f32 but for filters."""
    item_rows, label_rows = _numbered(items, "item"), _numbered(labels, "label")
    seen, unseen = pl.col("label") < tables["labels"].height, pl.col("label") >= tables["labels"].height
    allowed = {
        "train": seen,
        "test": seen,
        "test_zeroshot": unseen,
        "filter_train": pl.lit(True),
        "filter_test": pl.lit(True),
    }
    pairs: dict[str, pl.DataFrame] = {}
    for name, which in allowed.items():
        if name in tables:
            with apart():
                table = tables[name]
                if name in LINKS:
                    kept, weight = link_columns.read(source.tables[name], name, _file(source, name), rules)
                    table = table.with_columns(weight=weight, kept=kept)
                rows = _resolve(table, item_rows, label_rows.filter(which), source, name)
                left = table["kept"].any() if name in LINKS else True
                if not left and name in ("train", "test"):
                    raise CatalogError(
                        f"the {name} split is empty",
                        where=_file(source, name),
                        mend=f"give at least one {name} item a label"
                        if table.is_empty()
                        else "ingest.keep_links leaves every link out: look at its column and its values",
                    )
                pairs[name] = rows
    return pairs


def _numbered(table: pl.DataFrame, name: str) -> pl.DataFrame:
    numbered = table.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias(name), pl.col("id").alias(f"{name}_id"))
    return numbered.unique(f"{name}_id", keep="first")  # ids that occur twice have been told of


def _resolve(links: pl.DataFrame, items: pl.DataFrame, labels: pl.DataFrame, source: Source, name: str) -> pl.DataFrame:
    rows = links.join(items, on="item_id", how="left", maintain_order="left")
    rows = rows.join(labels, on="label_id", how="left", maintain_order="left")
    kept = links["kept"] if "kept" in links.columns else pl.repeat(True, links.height, eager=True)
    of_label = "zeroshot_labels" if name == "test_zeroshot" else "labels"
    for column, of in (("item", "items"), ("label", of_label)):
        unknown = rows[column].is_null() & kept
        ids = links.filter(unknown)[f"{column}_id"].n_unique()
        what = f"{unknown.sum():,} links lead to {ids:,} unknown {column} ids"
        where = f"{_file(source, name)}, column {column}_id"
        mend = f"add these ids to {_file(source, of)}, or remove the links"
        rows_shown = ["item_id", "label_id"]
        if unknown.any() and (found := _explained(links.filter(unknown)[f"{column}_id"], column, of, source)):
            what, mend = f"{what}; {found.what}", f"{found.hint}; or {mend}"
            with apart():
                shown = [*offending(links, unknown, *rows_shown)[:1], *found.examples]
                raise CatalogError(what, where=where, rows=shown, mend=mend)
        else:
            refuse(links, unknown, rows_shown, what, where, mend)
    return rows.filter(kept).select("item", "label", *(["weight"] if "weight" in links.columns else [])).drop_nulls()


def _explained(ids: pl.Series, kind: str, of: str, source: Source) -> id_faults.Finding | None:
    table, other = source.tables[of], source.tables["labels" if kind == "item" else "items"]
    if table.schema.get("id") != pl.String or other.schema.get("id") != pl.String:
        return None
    texts = table["text"] if table.schema.get("text") == pl.String else None
    return id_faults.explain(ids, table["id"], texts, other["id"], kind)


def _split(items: pl.DataFrame, pairs: dict[str, pl.DataFrame], source: Source) -> pl.DataFrame:
    """Items with their split, as given or as their links show it; both must agree."""
    row = pl.int_range(items.height, dtype=pl.UInt32, eager=True)
    in_train = row.is_in(pairs["train"]["item"].unique().implode())
    tested = [pairs[name]["item"] for name in ("test", "test_zeroshot") if name in pairs]
    in_test = row.is_in(pl.concat(tested).unique().implode())
    if "split" in items.columns:
        split = items["split"]
        wrong = ~split.is_in(["train", "test"]).fill_null(False)
        what, where = f"{wrong.sum():,} items are of no known split", f"{_file(source, 'items')}, column split"
        mend = "write 'train' or 'test', or remove the column (the links then tell)"
        refuse(items, wrong, ["id", "split"], what, where, mend)
    else:
        # An item without any link can still lend its text and images to training.
        split = pl.select(pl.when(in_test).then(pl.lit("test")).otherwise(pl.lit("train"))).to_series()
    for name, linked, other in (("train", in_train, "test"), ("test", in_test, "train")):
        leak, file = linked & (split == other), _file(source, name)
        what = f"{leak.sum():,} {other} items have links in the {name} split"
        mend = f"remove their links from {file}, or make them {name} items"
        refuse(items, leak, ["id"], what, f"{file}, column item_id", mend)
    return items.with_columns(split.alias("split"))
