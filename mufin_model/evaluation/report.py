"""report.html: one self-contained page, for people. The words and the layout are in report.html.j2."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from mufin_model.evaluation import charts, outfits, table
from mufin_model.evaluation.buckets import Bucket, enough
from mufin_model.evaluation.floor import BASELINES, FEW_ITEMS
from mufin_model.evaluation.gallery import Card

TEMPLATE = Path(__file__).with_name("report.html.j2")

SAME = {"text": "every item has the same text", "image": "every item shows the same pictures"}
"""What the page says of a modality that tells no item from another."""

COMPARED = ("tfidf_knn", "image_knn", "siamese", "mufin")
"""Methods drawn in the chart of the buckets."""


@dataclass(frozen=True)
class Contents:
    """What the page shows.

    Attributes:
        dataset: its name.
        metrics: as in metrics.json.
        skipped: baselines left out, with the reason.
        groups: frequency buckets.
        curves: loss curves (epoch, loss, val_p1, best) by name.
        fusion: as in fusion.json.
        summary: as in raw_descriptors/summary.json.
        cards: the gallery.
        n_test: test items.
        first: the headline metric, as `P@1`.
    """

    dataset: str
    metrics: Mapping[str, Any]
    skipped: Mapping[str, str]
    groups: Sequence[Bucket]
    curves: Mapping[str, pl.DataFrame]
    fusion: Mapping[str, Any]
    summary: Mapping[str, Any]
    cards: Sequence[Card]
    n_test: int
    first: str


def render(contents: Contents) -> str:
    """The page. All text that came with the data is escaped."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["percent"] = lambda value, digits=1: f"{100 * value:.{digits}f}"
    environment.filters["signed"] = lambda value: f"{100 * value:+.1f}"
    environment.filters["count"] = lambda value: f"{value:,}" if isinstance(value, int) else f"{value:g}"
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    metrics = contents.metrics
    ordered = [(key, name) for key, name in table.NAMES.items() if key in metrics]
    shown = table.columns([(name, metrics[key]) for key, name in ordered])
    return template.render(
        c=contents,
        ours=metrics["mufin"],
        ordered=ordered,
        shown=shown,
        best={column: max(metrics[key][column] for key, _ in ordered) for column in shown},
        rival=_rival(metrics, contents.first),
        names=table.NAMES,
        outside=BASELINES,
        few_items=FEW_ITEMS,
        same=[SAME[name] for name in metrics.get("same_for_all", [])],
        outfits=outfits.rows(metrics["outfits"]) if "outfits" in metrics else [],
        buckets=_buckets(contents),
        curves=[_curve(name, curve) for name, curve in contents.curves.items()],
        weights=_weights(contents.fusion),
        summary=list(_flat(contents.summary)),
        right=sum(card.guesses[0].right for card in contents.cards if card.guesses),
    )


def _rival(metrics: Mapping[str, Any], first: str) -> dict[str, Any]:
    key = max((key for key in BASELINES if key in metrics), key=lambda key: metrics[key][first])
    return {"key": key, "name": table.NAMES[key], "value": metrics[key][first], **metrics["intervals"][key]}


def _buckets(contents: Contents) -> dict[str, Any]:
    told = contents.metrics["buckets"]
    keys = [key for key in COMPARED if key in told]
    groups = [group.name for group in contents.groups]
    return {
        "keys": keys,
        "chart": charts.bars(groups, {table.NAMES[key]: [told[key][g]["recall_10"] for g in groups] for key in keys}),
        "rows": [
            {
                "name": group.name,
                "labels": int(group.labels.sum()),
                "links": group.links,
                "tells": enough(told["mufin"][group.name]),
                "part": told["mufin"][group.name]["part_of_P_5"],
                "recalls": [told[key][group.name]["recall_10"] for key in keys],
            }
            for group in contents.groups
        ],
    }


def _curve(name: str, curve: pl.DataFrame) -> dict[str, Any]:
    epochs = [float(epoch) for epoch in curve["epoch"]]

    def column(which: str) -> list[float]:
        if which not in curve.columns:
            return [math.nan] * len(epochs)
        return [math.nan if value is None else float(value) for value in curve[which].cast(pl.Float64, strict=False)]

    kept = [epoch for epoch, best in zip(epochs, column("best"), strict=True) if best == 1]
    mark = kept[0] if kept else None
    title = {"loss_pretrain": "Module I: embedding", "loss_finetune": "Modules III and IV: classifiers"}
    return {
        "title": title.get(name, name),
        "loss": charts.lines(epochs, {"training loss": column("loss")}, "epoch", mark=mark),
        "val": charts.lines(epochs, {"validation P@1": column("val_p1")}, "epoch", per_cent=True, mark=mark),
    }


def _weights(fusion: Mapping[str, Any]) -> list[tuple[str, float]]:
    return [(str(name), float(value)) for name, value in (fusion.get("weights") or {}).items()]


def _flat(values: Mapping[str, Any], before: str = "") -> Any:
    """(name, number) pairs of a nested mapping, names made readable."""
    for key, value in values.items():
        name = f"{before}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}, ")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name, value
