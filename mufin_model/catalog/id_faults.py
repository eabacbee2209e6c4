"""Why links lead to unknown ids: near misses, found by comparing normalised ids, and other columns in their place."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

EXAMPLES = 3

NEAR: dict[str, Callable[[str], str]] = {
    "spaces around them": str.strip,
    "small and capital letters": str.casefold,
    "a decimal point and zero at the end (123.0)": lambda id_: id_.removesuffix(".0"),
    "zeros at the beginning": lambda id_: id_.lstrip("0") or "0",
    "quotes around them": lambda id_: id_.strip("\"'"),
    "how accents are written (Unicode NFC and NFD)": lambda id_: unicodedata.normalize("NFC", id_),
    "separators (space, dash, underscore)": lambda id_: id_.replace("-", "_").replace(" ", "_"),
    "what a path or a prefix adds in front": lambda id_: id_.replace(":", "/").rpartition("/")[2],
    "inner spaces": lambda id_: " ".join(id_.split()),
}
"""How two writings of one id may differ, and what makes them alike."""
SEPARATORS = (",", ";", "|", " ")


@dataclass(frozen=True)
class Finding:
    """What the unknown ids are: a clause for the message, a hint, and examples."""

    what: str
    hint: str
    examples: list[str]


def explain(
    unknown: pl.Series, known: pl.Series, texts: pl.Series | None, others: pl.Series, kind: str
) -> Finding | None:
    """The commonest reason for which ids are unknown; None where nothing explains them.

    Args:
        unknown: ids of links that no row has.
        known: the ids there are.
        texts: the texts of the same rows.
        others: the ids at the other end of links: labels', where `unknown` are items'.
        kind: "item" or "label".
    """
    ids = [id_ for id_ in unknown.drop_nulls().unique(maintain_order=True) if id_.strip()]
    if not ids:
        return None
    names = set(known.drop_nulls())
    found = [*_near(ids, names), *_elsewhere(ids, names, texts, others, kind)]
    return max(found, key=lambda one: one[0])[1] if found else None


def _near(ids: list[str], names: set[str]) -> list[tuple[int, Finding]]:
    found = []
    for how, alike in [*NEAR.items(), ("several of these", _all)]:
        there: dict[str, str | None] = {}
        for name in names:
            key = alike(name)
            there[key] = None if key in there else name  # two known ids that are alike explain nothing
        pairs = [(id_, near) for id_ in ids if (near := there.get(alike(id_))) is not None]
        if pairs:
            what = f"{len(pairs):,} of these ids are like known ones but for {how}"
            examples = [f"{id_!r} here, {near!r} there" for id_, near in pairs[:EXAMPLES]]
            found.append((len(pairs), Finding(what, "write each id alike in all tables", examples)))
    return found


def _all(id_: str) -> str:
    for alike in (str.strip, *NEAR.values()):
        id_ = alike(id_)
    return id_


def _elsewhere(
    ids: list[str], names: set[str], texts: pl.Series | None, others: pl.Series, kind: str
) -> list[tuple[int, Finding]]:
    other = "label" if kind == "item" else "item"
    found = []
    swapped = [id_ for id_ in ids if id_ in set(others)]
    if swapped:
        what = f"{len(swapped):,} of these ids are {other} ids: the two columns may be swapped"
        found.append(
            (len(swapped), Finding(what, f"write {kind}s under {kind}_id, {other}s under {other}_id", swapped[:3]))
        )
    titles = set() if texts is None else set(texts) - {""}
    titled = [id_ for id_ in ids if id_ in titles]
    if titled:
        what = f"{len(titled):,} of these are texts of {kind}s, not their ids"
        hint = f"write the {kind}'s id in place of its text; or swap id and text in its table"
        found.append((len(titled), Finding(what, hint, [repr(id_) for id_ in titled[:EXAMPLES]])))
    for separator in SEPARATORS:
        several = [id_ for id_ in ids if separator in id_.strip() and _parts(id_, separator) <= names]
        if several:
            what = f"{len(several):,} of these cells hold several ids, separated by {separator!r}"
            examples = [repr(id_) for id_ in several[:EXAMPLES]]
            found.append((len(several), Finding(what, f"write a row for each {kind}", examples)))
    return found


def _parts(cell: str, separator: str) -> set[str]:
    """The ids of a cell, which may be written as a list: ['l1', 'l2']."""
    return {part for one in cell.strip("[](){} ").split(separator) if (part := one.strip(" '\""))}
