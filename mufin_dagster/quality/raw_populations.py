"""Tables of raw_descriptors about populations: modalities that are missing, texts unlike the others, drift."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from mufin_dagster.quality import evidence, raw_descriptors
from mufin_dagster.quality.frames import Source, Table, eras

SCRIPTS = (
    r"\p{Latin}",
    r"[\p{Han}\p{Hiragana}\p{Katakana}]",
    r"\p{Cyrillic}",
    r"\p{Arabic}",
    r"\p{Hangul}",
    r"\p{Greek}",
    r"\p{Hebrew}",
    r"\p{Devanagari}",
    r"\p{Thai}",
)
"""Of which one is the catalogue's own. A script is told from a text's letters for certain, a language is not."""


def modalities(source: Source) -> pl.DataFrame:
    """A row for each modality of the val and test items: split, modality, items, missing and train_missing (shares of
    the items without it), gap (what of the difference is more than chance)."""
    frame = raw_descriptors.items_of(source).select(
        pl.col("split").cast(pl.String),
        text=pl.col("text").fill_null("") == "",
        image=pl.col("images").list.len().fill_null(0) == 0,
    )
    shares = (
        frame.group_by("split")
        .agg(pl.col("text", "image").mean(), items=pl.len())
        .unpivot(on=["text", "image"], index=["split", "items"], variable_name="modality", value_name="missing")
    )
    train = shares.filter(pl.col("split") == "train").select("modality", train_missing="missing", train_items="items")
    found = (
        shares.filter(pl.col("split").is_in(["val", "test"]))
        .join(train, on="modality")
        .sort("split", "modality")
        .select("split", "modality", "items", "missing", "train_missing", "train_items")
    )
    gaps = [
        evidence.beyond_chance(round(missing * n), n, round(other * m), m)
        for _, _, n, missing, other, m in found.iter_rows()
    ]
    return found.drop("train_items").with_columns(gap=pl.Series(gaps, dtype=pl.Float64))


def text_shapes(source: Source) -> pl.DataFrame:
    """One row an item or a label with a text: of, row, id, characters, times_median (characters over their median),
    other_script (share of its letters that are not of the script of most letters)."""
    parts = [
        _texts(frame).select(pl.lit(of).alias("of"), "row", "id", "text")
        for of, frame in (("item", raw_descriptors.items_of(source)), ("label", raw_descriptors.labels_of(source)))
    ]
    frame = pl.concat(parts).with_columns(
        characters=pl.col("text").str.len_chars(), letters=pl.col("text").str.count_matches(r"\p{L}")
    )
    # All letters of an ASCII text are Latin: most texts of most shops need not be looked at nine times.
    ascii_only = frame["text"].str.len_bytes() == frame["characters"]
    plain, others = frame.filter(ascii_only), frame.filter(~ascii_only)
    counts = others.select(pl.col("text").str.count_matches(script).alias(script) for script in SCRIPTS)
    totals = dict(zip(SCRIPTS, counts.sum().row(0), strict=True)) if others.height else dict.fromkeys(SCRIPTS, 0)
    totals[SCRIPTS[0]] += int(plain["letters"].sum())
    own = max(totals, key=totals.__getitem__)
    frame = pl.concat(
        [
            plain.with_columns(own=pl.col("letters") * int(own == SCRIPTS[0])),
            others.with_columns(own=counts[own]),
        ]
    )
    return frame.select(
        "of",
        "row",
        "id",
        "characters",
        times_median=pl.col("characters") / pl.col("characters").median().over("of"),
        other_script=(pl.col("letters") - pl.col("own")) / pl.col("letters").clip(lower_bound=1),
    )


def text_drift(source: Source) -> pl.DataFrame:
    """One row an item with a text, of this version and of the release: era, characters."""
    return _drift(source, "items.parquet", "characters", lambda frame: _texts(frame)["text"].str.len_chars())


def link_drift(source: Source) -> pl.DataFrame:
    """One row a training item with labels, of this version and of the release: era, labels."""

    def labels(frame: pl.DataFrame) -> pl.Series:
        return frame.filter(pl.col("split") == "train").group_by("item", maintain_order=True).len()["len"]

    return _drift(source, "links.parquet", "labels", labels)


TABLES: dict[str, Table] = {
    "modalities": modalities,
    "text_shapes": text_shapes,
    "text_drift": text_drift,
    "link_drift": link_drift,
}


def _drift(source: Source, file: str, column: str, reduce: Callable[[pl.DataFrame], pl.Series]) -> pl.DataFrame:
    released = source.released(f"{raw_descriptors.NOUN}/{file}")
    now = reduce(source.parquet(raw_descriptors.NOUN, file))
    return eras(column, now.to_numpy(), None if released is None else reduce(pl.read_parquet(released)).to_numpy())


def _texts(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_row_index("row").filter(pl.col("text").fill_null("") != "")
