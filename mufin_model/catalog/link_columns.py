"""Columns beside the ids of links, and what a setting makes of them: a weight, a condition, or nothing.

A link says that a label belongs to an item. A rating of -1, a score of 0 or the event "returned" says something else,
so such a column is never passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from mufin_model.catalog.columns import COLUMNS, nearest, refuse
from mufin_model.catalog.faults import apart
from mufin_model.errors import CatalogError, SettingError

LINKS = ("train", "test", "test_zeroshot")
"""The tables whose rows are taken as relevant pairs."""

_MEANING = """
rating ratings rate rated stars star score scores weight weights relevance relevancy relevant rel grade grades gain
label labels target y class sentiment polarity like liked likes dislike dislikes vote votes upvotes positive negative
feedback confidence probability prob value count counts quantity qty freq frequency click clicks clicked view views
purchase purchases purchased bought returned ctr event action interaction split fold valid active deleted
"""
MEANING = frozenset(_MEANING.split())
"""Words in the names of columns that say how much, or whether, a pair belongs together."""
TIMES = frozenset(["timestamp", "time", "times", "date", "datetime", "ts", "created", "updated", "year", "day"])
"""Words in the names of columns that say when; such a column is named in the log and changes no link."""
AGAINST = frozenset(["", "false", "no", "n", "f", "negative", "neg", "dislike", "disliked", "returned", "deleted"])
"""A column that says one of these of every link is not harmless because it is constant."""


@dataclass(frozen=True)
class LinkColumns:
    """What settings say of the further columns of links (params.yaml, `ingest`).

    Attributes:
        weight: the column that holds each link's weight; empty: none.
        keep: column to the least value of a link that is kept, or to the words that are kept.
        ignore: columns of any table that are left unread knowingly.
    """

    weight: str = ""
    keep: Mapping[str, float | Sequence[str]] = field(default_factory=dict)
    ignore: Sequence[str] = ()

    @property
    def used(self) -> set[str]:
        return {self.weight, *self.keep} - {""}


def unread(tables: Mapping[str, pl.DataFrame], rules: LinkColumns) -> dict[str, list[str]]:
    """Table to those of its columns that nothing reads and no setting names."""
    known = {*rules.used, *rules.ignore}
    left = {
        name: [column for column in table.columns if column not in COLUMNS[name] and column not in known]
        for name, table in tables.items()
    }
    return {name: columns for name, columns in left.items() if columns}


def check_names(tables: Mapping[str, pl.DataFrame], rules: LinkColumns) -> None:
    """Refuse settings of columns that no table of links has.

    Raises:
        SettingError: one of them.
    """
    there = {column for name in LINKS if name in tables for column in tables[name].columns}
    for key, names in (("weight_column", [rules.weight] if rules.weight else []), ("keep_links", list(rules.keep))):
        for name in names:
            if name not in there:
                near = nearest(name, there)
                raise SettingError(
                    f"no table of links has the column {name!r}",
                    where=f"ingest.{key}",
                    rows=[f"has: {', '.join(sorted(there))[:500]}"],
                    mend=f"did you mean {near!r}?" if near else "name a column of train or test, or clear the setting",
                )


def read(table: pl.DataFrame, name: str, file: str, rules: LinkColumns) -> tuple[pl.Series, pl.Series]:
    """Which links are kept, and their weights.

    Args:
        table: of the links, with all columns of its file.
        name: of LINKS.
        file: for errors.
        rules: the settings.

    Returns:
        (bool [n], float32 [n]); a table without the weight column has weights of one.

    Raises:
        CatalogError: a column may change what the links mean and no setting names it, or its values are no numbers
            where the settings ask for these.
    """
    for column in table.columns:
        if column not in COLUMNS[name] and column not in {*rules.used, *rules.ignore}:
            with apart():
                _refuse_silence(table[column], file)
    kept = pl.repeat(True, table.height, dtype=pl.Boolean, eager=True)
    for column, least in rules.keep.items():
        if column in table.columns:
            kept &= _kept(table, column, least, file)
    weights = pl.repeat(1.0, table.height, dtype=pl.Float32, eager=True)
    if rules.weight in table.columns:
        values = _numbers(table, rules.weight, kept, file)
        bad = kept & ~(values > 0).fill_null(False)
        what = f"{bad.sum():,} links have a weight of zero or less"
        mend = f"leave them out: -S 'ingest.keep_links={{{rules.weight}: 1}}' keeps those of at least 1"
        refuse(table, bad, _shown(table, rules.weight), what, f"{file}, column {rules.weight}", mend)
        weights = values.fill_null(1.0).cast(pl.Float32)
    return kept, weights


def _kept(table: pl.DataFrame, column: str, least: float | Sequence[str], file: str) -> pl.Series:
    if isinstance(least, int | float):
        every = pl.repeat(True, table.height, dtype=pl.Boolean, eager=True)
        return (_numbers(table, column, every, file) >= least).fill_null(False)
    return table[column].cast(pl.String).str.strip_chars().is_in(list(least)).fill_null(False)


def _numbers(table: pl.DataFrame, column: str, wanted: pl.Series, file: str) -> pl.Series:
    values = _as_numbers(table[column])
    bad = wanted & ~values.is_finite().fill_null(False)
    what = f"{bad.sum():,} links have no number in the column {column!r}"
    mend = "write a number for each link, or name the words that are kept: ingest.keep_links"
    refuse(table, bad, _shown(table, column), what, f"{file}, column {column}", mend)
    return values


def _shown(table: pl.DataFrame, column: str) -> list[str]:
    return [name for name in ("item_id", "label_id", column) if name in table.columns]


def _as_numbers(values: pl.Series) -> pl.Series:
    if values.dtype == pl.String:
        values = values.str.strip_chars()
    return values.cast(pl.Float64, strict=False)


def words(name: str) -> set[str]:
    """The words of a column's name, in small letters: {"user", "rating"} of user_rating and userRating."""
    return set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()))


def _refuse_silence(values: pl.Series, file: str) -> None:
    column = values.name
    if not words(column) & MEANING or words(column) & TIMES or _says_nothing(values):
        return
    numeric = not _as_numbers(values).drop_nulls().is_empty()
    counts = values.cast(pl.String).value_counts(sort=True, name="links").head(20)
    each = [f"{value!r}: {links:,} links" for value, links in counts.iter_rows()]
    example = f"{{{column}: 1}}" if numeric else f"{{{column}: [{counts[column][0]}]}}"
    keeps = "keeps links of at least 1" if numeric else "keeps links of such a value"
    above = numeric and bool((_as_numbers(values) > 0).fill_null(False).all())
    weight = f"; -S ingest.weight_column={column} takes it as each link's weight" if above else ""
    raise CatalogError(
        f"the column {column!r} may change what a link means, and no setting says how to read it",
        where=f"{file}, column {column}",
        rows=each,
        mend=f"-S 'ingest.keep_links={example}' {keeps}{weight}; -S 'ingest.ignore_columns=[{column}]' takes every "
        "link as relevant; params.yaml keeps such a setting",
    )


def _says_nothing(values: pl.Series) -> bool:
    """Whether the column says the same of every link, and nothing against it."""
    if values.is_empty():
        return True
    if values.n_unique() > 1:
        return False
    number = _as_numbers(values)[0]
    if number is not None:
        return bool(number > 0)
    return values[0] is None or str(values[0]).strip().lower() not in AGAINST
