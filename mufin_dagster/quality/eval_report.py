"""Summary tables of eval_report: its figures, and these beside popularity's and the last release's."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from mufin_dagster.quality.frames import Source, Table
from mufin_model.artefacts import read_json
from mufin_model.evaluation import floor

NOUN = "eval_report"
OURS, POPULARITY = "mufin", "popularity"
NOT_METHODS = {"intervals", "buckets", "zero_shot", "outfits", "items", "card", "same_for_all"}
COUNTS = {"items", "labels", "links"}
"""Of `zero_shot` and the buckets: no fractions."""
FEW_ITEMS = 100
"""Test items below which one of them moves a metric by more than the rules about the last release allow."""
HEADLINE = "P@1"


def metrics(source: Source) -> pl.DataFrame:
    """One row a figure that is a fraction: of (method, or its bucket), metric, value (-1 where it is no number)."""
    told = _told(source)
    groups: dict[str, dict[str, Any]] = {name: told[name] for name in told if name not in NOT_METHODS}
    for method, buckets in told.get("buckets", {}).items():
        groups |= {f"{method}, labels of {bucket} items": figures for bucket, figures in buckets.items()}
    groups["zero_shot"] = told.get("zero_shot", {})
    groups |= {f"outfits, {of}": told["outfits"][of] for of in told.get("outfits", {}) if of != "counts"}
    rows = [
        (of, name, _number(value))
        for of, figures in groups.items()
        for name, value in figures.items()
        if name not in COUNTS
    ]
    return pl.DataFrame(rows, {"of": pl.String, "metric": pl.String, "value": pl.Float64}, orient="row")


def methods(source: Source) -> pl.DataFrame:
    """A row for our method: method, found (its figures)."""
    return pl.DataFrame({"method": [OURS], "found": [len(_told(source).get(OURS, {}))]})


def against_popularity(source: Source) -> pl.DataFrame:
    """One row a precision: metric, ours, popularity, ahead. No row where too few test items tell."""
    told = _told(source)
    few = told.get("items", floor.FEW_ITEMS) < floor.FEW_ITEMS
    ours, theirs = told.get(OURS, {}), {} if few else told.get(POPULARITY, {})
    rows = [(name, *_pair(ours[name], theirs[name])) for name in ours if name in theirs and name.startswith("P@")]
    columns = {"metric": pl.String, "ours": pl.Float64, "popularity": pl.Float64}
    return pl.DataFrame(rows, columns, orient="row").with_columns(ahead=pl.col("ours") - pl.col("popularity"))


def against_baselines(source: Source) -> pl.DataFrame:
    """One row a baseline: baseline, ours, theirs, ahead, low, high (P@1; the difference and its 95 % interval). No row
    where too few test items tell."""
    rows = [
        (one.name, *(_number(value) for value in (one.ours, one.theirs, one.difference, one.low, one.high)))
        for one in floor.rivals(_told(source))
    ]
    figures = dict.fromkeys(("ours", "theirs", "ahead", "low", "high"), pl.Float64)
    return pl.DataFrame(rows, {"baseline": pl.String, **figures}, orient="row")


def against_release(source: Source) -> pl.DataFrame:
    """One row a metric of the released model: metric, released, now, lost; no row where nothing was released, and
    where too few test items tell."""
    path = source.released("manifest.json")
    few = _told(source).get("items", FEW_ITEMS) < FEW_ITEMS
    released = {} if path is None or few else read_json(path)["metrics"]
    ours = _told(source).get(OURS, {})
    rows = [(name, *_pair(released[name], ours[name])) for name in released if name in ours]
    columns = {"metric": pl.String, "released": pl.Float64, "now": pl.Float64}
    return pl.DataFrame(rows, columns, orient="row").with_columns(lost=pl.col("released") - pl.col("now"))


def headline_against_release(source: Source) -> pl.DataFrame:
    """`against_release`, P@1 alone."""
    return against_release(source).filter(pl.col("metric") == HEADLINE)


TABLES: dict[str, Table] = {
    "metrics": metrics,
    "methods": methods,
    "against_popularity": against_popularity,
    "against_baselines": against_baselines,
    "against_release": against_release,
    "headline_against_release": headline_against_release,
}


def _told(source: Source) -> dict[str, Any]:
    path = source.folder(NOUN) / "metrics.json"
    return source.once(path, lambda: read_json(path))


def _pair(one: Any, other: Any) -> tuple[float, float]:
    return _number(one), _number(other)


def _number(value: Any) -> float:
    number = float(value) if isinstance(value, int | float) else math.nan
    return number if math.isfinite(number) else -1.0
