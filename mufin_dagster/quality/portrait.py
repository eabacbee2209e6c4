"""A dataset in figures, from raw_descriptors: what a table of passed and failed does not show at a glance."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from mufin_dagster.quality import raw_descriptors
from mufin_dagster.quality.frames import Source
from mufin_dagster.quality.result import Chart, Portrait

OCCURS = (0, 1, 3, 10, 100)
"""Upper ends of the groups of labels by training items; above the last is one more."""
LONG = (10, 20, 40, 80, 160)
"""The same of texts by characters."""


def portrait(source: Source) -> Portrait:
    """Counts and charts of one dataset.

    Raises:
        Exception: whatever reading damaged files raises.
    """
    items, labels = raw_descriptors.items(source), raw_descriptors.labels(source)
    splits = items["split"].cast(pl.String)
    links = source.parquet(raw_descriptors.NOUN, "links.parquet")
    counts = {f"{split} items": int((splits == split).sum()) for split in ("train", "val", "test")}
    counts |= {
        "seen labels": int((~labels["zero_shot"]).sum()),
        "zero-shot labels": int(labels["zero_shot"].sum()),
        "links": links.height,
        "images": len(raw_descriptors.image_store(source)),
    }
    charts = [_occurrences(labels), _missing(items, labels), _lengths(source)]
    return Portrait(dataset=source.dataset, counts=counts, charts=charts)


def _occurrences(labels: pl.DataFrame) -> Chart:
    trained = labels.filter(~pl.col("zero_shot"))["train_items"]
    groups, places = _cut(trained, OCCURS)
    frame = pl.DataFrame({"place": places, "links": trained})
    return Chart(
        title="Labels by training items",
        note="A label that no training item has cannot be learnt; a head that holds most links teaches the most.",
        groups=groups,
        series={
            "labels": _shares(frame.select("place", weight=pl.lit(1)), len(groups)),
            "training links": _shares(frame.select("place", weight="links"), len(groups)),
        },
    )


def _missing(items: pl.DataFrame, labels: pl.DataFrame) -> Chart:
    groups = {split: items.filter(pl.col("split") == split) for split in ("train", "val", "test")} | {"labels": labels}

    def share(column: str) -> list[float]:
        return [float((table[column] == 0).mean() or 0.0) for table in groups.values()]  # type: ignore[arg-type]

    return Chart(
        title="Without text, without images",
        note="Share of the items of each split, and of the labels. Splits should be alike.",
        groups=list(groups),
        series={"no text": share("texts"), "no image": share("images")},
    )


def _lengths(source: Source) -> Chart:
    released = source.released(f"{raw_descriptors.NOUN}/items.parquet")
    texts = {
        "items": raw_descriptors.items_of(source)["text"],
        "labels": raw_descriptors.labels_of(source)["text"],
        **({"items of the release": pl.read_parquet(released, columns=["text"])["text"]} if released else {}),
    }
    series, groups = {}, [""]
    for name, column in texts.items():
        lengths = column.fill_null("").str.len_chars()
        groups, places = _cut(lengths.filter(lengths > 0), LONG)
        series[name] = _shares(pl.DataFrame({"place": places}).with_columns(weight=pl.lit(1)), len(groups))
    return Chart(title="Characters a text", note="Empty texts are left out.", groups=groups, series=series)


def _cut(values: pl.Series, ends: Sequence[int]) -> tuple[list[str], pl.Series]:
    """Names of the groups that `ends` cut, and the group of each value."""
    starts = [0 if ends[0] == 0 else 1, *(end + 1 for end in ends)]
    names = [str(low) if low == high else f"{low}–{high}" for low, high in zip(starts, ends, strict=False)]
    bounds = pl.Series(ends, dtype=pl.Int64)
    return [*names, f"{starts[-1]}+"], bounds.search_sorted(values.cast(pl.Int64), side="left")


def _shares(frame: pl.DataFrame, groups: int) -> list[float]:
    """Of a table place, weight: the share of the weight at each place."""
    sums = dict(frame.group_by("place").agg(pl.col("weight").sum()).iter_rows())
    total = sum(sums.values()) or 1
    return [round(float(sums.get(place, 0)) / total, 4) for place in range(groups)]
