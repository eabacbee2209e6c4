"""Stage `ingest`: a catalogue checked, split and stored so that every later stage reads it fast.

    mufin ingest --dataset demo
    mufin ingest --dataset demo --check      # all that is wrong with it, told at once; leaves nothing

Reads data/<dataset>/catalog/ in any format of `readers`; leaves raw_descriptors:
items.parquet, labels.parquet, links.parquet, filters.parquet, images/ (image_store), summary.json, and
image_vectors.npy (vectors) where the catalogue brings ready-made descriptors, and fill_in_blank.parquet and
compatibility.parquet (outfits) where it brings questions about outfits.
Equal input and seed give equal bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl

from mufin_model import run_mode
from mufin_model.artefacts import Workspace, write_json
from mufin_model.catalog import dropped, images, path_faults, readers, schema
from mufin_model.catalog.faults import apart, gathered
from mufin_model.catalog.image_files import ImageFiles
from mufin_model.catalog.link_columns import LinkColumns
from mufin_model.catalog.links import restrict
from mufin_model.catalog.split import hold_out
from mufin_model.catalog.vectors import FILE
from mufin_model.config import Settings
from mufin_model.errors import ImageError, MufinError
from mufin_model.progress import say

ROWS = {"path": pl.String, "images": pl.UInt32}
"""Image paths and their rows in the store."""


def run(workspace: Workspace, dataset: str, settings: Settings) -> None:
    """Write raw_descriptors.

    Raises:
        CatalogError: a table breaks a rule.
        ImageError: images are missing or do not decode, and ingest.bad_images is 'refuse'.
        SettingError: the format is unknown, or no training item would be left.
    """
    wanted = settings.ingest
    source = readers.read(workspace.catalog(dataset), wanted.format)
    tables = schema.check(source, rules(settings))
    dropped.refuse_lost_links(source, tables, wanted.max_dropped)
    items, links = _hold_out(workspace, dataset, settings, tables)
    paths = _distinct([items["image_paths"], tables.labels["image_paths"]])
    with workspace.write(dataset, "raw_descriptors") as folder:
        if wanted.keep_split:
            run_mode.note(folder)
        written = images.write(folder / "images", source.images, paths, wanted.image_size)
        _refuse_bad_images(written.bad, len(paths), source, settings)
        items = _with_images(items, written.rows)
        labels = _with_images(tables.labels, written.rows)
        _write(folder, "items", items.select("id", "text", "images", "split"))
        _write(folder, "labels", labels.select("id", "text", "images", "zero_shot"))
        _write(folder, "links", links)
        _write(folder, "filters", tables.filters)
        summary = _summary(items, labels, links, tables, written, source.notes)
        if source.vectors is not None:
            summary["image_vectors"] = source.vectors.write(folder / FILE, written.rows, written.stored)
        if source.questions is not None:
            summary["questions"] = source.questions.write(folder, items["id"])
        write_json(folder / "summary.json", summary)
    _say_notes(tables, source)
    say(f"{dataset}: {_told(tables, links)}, {written.stored:,} images" + _changed(len(written.bad), tables))


def check(workspace: Workspace, dataset: str, settings: Settings) -> None:
    """Look at all that `run` reads, every image included, and write nothing.

    Raises:
        MufinError: what `run` would raise; SeveralErrors where more than that is wrong.
    """
    wanted = settings.ingest
    with gathered():
        source = readers.read(workspace.catalog(dataset), wanted.format)
        with apart():
            tables = schema.check(source, rules(settings))
            dropped.refuse_lost_links(source, tables, wanted.max_dropped)
            _, links = _hold_out(workspace, dataset, settings, tables)
        paths = _distinct(table["image_paths"] for _, table in _described(source))
        bad = images.bad(source.images, paths, wanted.image_size)
        with apart():
            _refuse_bad_images(bad, len(paths), source, settings)
        with apart():
            if source.vectors is not None:
                rows = {path: row for row, path in enumerate(path for path in paths if path not in bad)}
                source.vectors.write(Path(os.devnull), rows, len(rows))
    _say_notes(tables, source)
    found = f"{_told(tables, links)}, {len(paths) - len(bad):,} image paths"
    changed = _changed(len(bad), tables)
    whole = not bad and not any(tables.dropped_links.values())
    say(f"{dataset}: {'nothing is wrong with it' if whole else 'it can be ingested'}: {found}" + changed)


def rules(settings: Settings) -> LinkColumns:
    """What the settings say of further columns."""
    wanted = settings.ingest
    return LinkColumns(wanted.weight_column, wanted.keep_links, wanted.ignore_columns)


def _say_notes(tables: schema.Tables, source: schema.Source) -> None:
    """Name what was read otherwise than as it stands, and the columns that nothing reads."""
    for note in source.notes:
        say(note)
    for name, columns in tables.unread.items():
        shown = ", ".join(columns[:20]) + (", …" if len(columns) > 20 else "")
        file = Path(source.files.get(name, name)).name
        say(f"{file}: columns that are not read: {shown}; ingest.ignore_columns ends this line")


def _told(tables: schema.Tables, links: pl.DataFrame) -> str:
    unseen = int(tables.labels["zero_shot"].sum())
    seen = tables.labels.height - unseen
    return f"{tables.items.height:,} items, {seen:,} labels (+{unseen:,} zero-shot), {links.height:,} links"


def _changed(bad: int, tables: schema.Tables) -> str:
    told = f", {bad:,} bad images dropped" if bad else ""
    left_out = sum(tables.dropped_links.values())
    told += f", {left_out:,} links left out by ingest.keep_links" if left_out else ""
    return told + (f", {tables.cleaned_texts:,} texts cleaned" if tables.cleaned_texts else "")


def _described(source: schema.Source) -> Iterator[tuple[str, pl.DataFrame]]:
    """The tables with image paths, by name, but for those with a fault in their columns: the check tells of it."""
    for name in schema.DESCRIBED:
        if name in source.tables:
            with suppress(MufinError):
                yield name, schema.conform(source.tables[name], name, source.files.get(name, name))


def _distinct(bags: Iterable[pl.Series]) -> list[str]:
    """The paths of all bags, in the order of their first appearance."""
    paths = pl.concat([pl.Series("image_paths", [], dtype=pl.List(pl.String)), *bags])
    return paths.explode(empty_as_null=False, keep_nulls=False).unique(maintain_order=True).to_list()


def _held_before(folder: Path) -> dict[str, bool]:
    """Items of an earlier split, and whether they were held out: kept weights were trained on the others."""
    told = pl.read_parquet(folder / "items.parquet", columns=["id", "split"]).filter(pl.col("split") != "test")
    return dict(zip(told["id"], told["split"] == "val", strict=True))


def _hold_out(
    workspace: Workspace, dataset: str, settings: Settings, tables: schema.Tables
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Items and links with the split 'val' in them; with ingest.keep_split, items are held out if they were before."""
    wanted = settings.ingest
    before = _held_before(workspace.read(dataset, "raw_descriptors")) if wanted.keep_split else {}
    if moved := int(((tables.items["split"] == "test") & tables.items["id"].is_in(list(before))).sum()):
        say(
            f"{moved:,} test items were labelled before: weights that are kept know them, and figures will flatter; "
            "`mufin materialize` trains anew"
        )
    train = tables.links.filter(pl.col("split") == "train")
    fresh = train.filter(~tables.items["id"].is_in(list(before)).gather(train["item"]))
    linking = restrict(fresh, np.arange(tables.items.height), range(tables.labels.height))
    drawn = hold_out(linking, wanted.validation_fraction, settings.seed)
    again = pl.Series([before.get(id_, False) for id_ in tables.items["id"]], dtype=pl.Boolean)
    linked = tables.items.select(pl.int_range(pl.len()).is_in(train["item"].unique().to_list())).to_series()
    held = pl.Series(drawn) | (again & linked)
    val = pl.lit("val")
    items = tables.items.with_columns(split=pl.when(held).then(val).otherwise(pl.col("split")))
    links = tables.links.with_columns(split=pl.when(held.gather(tables.links["item"])).then(val).otherwise("split"))
    return items, links


def _with_images(table: pl.DataFrame, rows: dict[str, int]) -> pl.DataFrame:
    """The table with `images` list[u32] for its paths: dropped ones left out, equal images of a bag once."""
    known = pl.DataFrame({"path": list(rows), "images": list(rows.values())}, schema=ROWS)
    flat = table.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"), path="image_paths")
    flat = flat.explode("path", empty_as_null=False, keep_nulls=False)
    flat = flat.join(known, on="path", how="inner", maintain_order="left").unique(
        ["row", "images"], maintain_order=True
    )
    bags = flat.group_by("row", maintain_order=True).agg("images")
    out = table.with_row_index("row").join(bags, on="row", how="left", maintain_order="left").drop("row", "image_paths")
    return out.with_columns(pl.col("images").fill_null([]))


def _write(folder: Path, name: str, table: pl.DataFrame) -> None:
    table.write_parquet(folder / f"{name}.parquet", compression="zstd", statistics=False)


def _summary(
    items: pl.DataFrame,
    labels: pl.DataFrame,
    links: pl.DataFrame,
    tables: schema.Tables,
    written: images.Written,
    notes: tuple[str, ...],
) -> dict[str, object]:
    def without(table: pl.DataFrame) -> dict[str, int]:
        no_image, no_text = table["images"].list.len() == 0, table["text"].str.strip_chars() == ""
        return {"images": int(no_image.sum()), "text": int(no_text.sum()), "both": int((no_image & no_text).sum())}

    of_items, of_labels = without(items), without(labels)
    trained = links.filter(pl.col("split") == "train")["label"].n_unique()
    linked = links["item"].n_unique()
    seen = int((~labels["zero_shot"]).sum())

    def count(table: pl.DataFrame, splits: tuple[str, ...]) -> dict[str, int]:
        return {split: int((table["split"] == split).sum()) for split in splits}

    return {
        "items": items.height,
        "items_by_split": count(items, ("train", "val", "test")),
        "labels": labels.height,
        "seen_labels": seen,
        "zero_shot_labels": labels.height - seen,
        "links": count(links, ("train", "val", "test", "zero_shot")),
        "filters": tables.filters.height,
        "images": written.stored,
        "image_paths": len(written.rows) + len(written.bad),
        "dropped_images": len(written.bad),
        "duplicate_links": tables.duplicate_links,
        "dropped_links": sum(tables.dropped_links.values()),
        "unread_columns": tables.unread,
        "cleaned_texts": tables.cleaned_texts,
        "notes": list(notes),
        "items_without_images": of_items["images"],
        "items_without_text": of_items["text"],
        "items_without_both": of_items["both"],
        "items_without_links": items.height - linked,
        "labels_without_images": of_labels["images"],
        "labels_without_text": of_labels["text"],
        "labels_without_both": of_labels["both"],
        "seen_labels_without_training_items": seen - trained,
    }


def _refuse_bad_images(bad: dict[str, str], total: int, source: schema.Source, settings: Settings) -> None:
    """Refuse bad images: any, or with `ingest.bad_images: drop` more than `ingest.max_dropped` of all."""
    wanted = settings.ingest
    if not bad:
        return
    if wanted.bad_images == "refuse":
        raise _bad_images(bad, source, "mend or remove them; or -S ingest.bad_images=drop leaves them out")
    if dropped.too_many(len(bad), total, wanted.max_dropped):
        mend = f"mend them; {len(bad):,} of {total:,} are more than ingest.max_dropped lets be left out"
        raise _bad_images(bad, source, mend)


def _bad_images(bad: dict[str, str], source: schema.Source, mend: str) -> ImageError:
    """The error that lists all bad images, each with the first row that names it."""
    owners: dict[str, str] = {}
    first = ""
    for name, table in _described(source):
        file = source.files.get(name, name)
        flat = table.with_row_index("row").select("row", "id", path="image_paths")
        flat = flat.explode("path", empty_as_null=False, keep_nulls=False)
        flat = flat.filter(pl.col("path").is_in(list(bad))).unique("path", keep="first", maintain_order=True)
        for row, id_, path in flat.iter_rows():
            first = first or file
            owners.setdefault(path, f"{Path(file).name} row {row}, id {id_!r}")
    what = f"{len(bad):,} images are missing or do not decode"
    if isinstance(source.images, ImageFiles):
        lost = [path for path, reason in bad.items() if reason == images.MISSING]
        if found := path_faults.explain(source.images.folder, lost):
            what, mend = f"{what}; {found.count:,} of them {found.what}", f"{found.hint}; or {mend}"
    return ImageError(
        what,
        where=f"{first}, column image_paths",
        rows=[f"{path}: {bad[path]} ({owner})" for path, owner in owners.items()],
        mend=mend,
    )
