"""The floor: what a newcomer would try first must not be clearly better than the model.

A model below it is not released. The comparison is over all test items. It chooses between no two models, so the
figures of a model that passes stay a fair test of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mufin_model.evaluation.table import NAMES

BASELINES = ("popularity", "tfidf_knn", "tfidf_one_vs_all", "sentence_knn", "image_knn")
"""Rows of the report's table that are no part of MUFIN."""

FEW_ITEMS = 30
"""Test items below which the bootstrap's interval is not to be trusted."""


@dataclass(frozen=True)
class Rival:
    """A baseline beside the model, in P at the smallest k.

    Attributes:
        name: of the baseline, as in metrics.json.
        metric: such as P@1.
        ours, theirs: fractions.
        difference, low, high: ours less theirs, with its 95 % interval.
    """

    name: str
    metric: str
    ours: float
    theirs: float
    difference: float
    low: float
    high: float

    @property
    def clearly_ahead(self) -> bool:
        return self.high < 0

    def __str__(self) -> str:
        return (
            f"{NAMES[self.name]} has {self.metric} {100 * self.theirs:.3g} %, the model {100 * self.ours:.3g} %"
            f" ({100 * self.difference:+.3g} points, 95 % interval {100 * self.low:+.3g} to {100 * self.high:+.3g})"
        )


def rivals(metrics: Mapping[str, Any]) -> list[Rival]:
    """The baselines of metrics.json, the best first; none where too few test items can tell (FEW_ITEMS)."""
    if metrics.get("items", FEW_ITEMS) < FEW_ITEMS:
        return []
    ours = metrics.get("mufin", {})
    ks = sorted(int(name.removeprefix("P@")) for name in ours if name.startswith("P@"))
    if not ks:
        return []
    metric = f"P@{ks[0]}"
    found = [
        Rival(name, metric, ours[metric], metrics[name][metric], **told)
        for name, told in metrics.get("intervals", {}).items()
        if name in BASELINES and metric in metrics.get(name, {})
    ]
    return sorted(found, key=lambda rival: -rival.theirs)
