"""Pictures of test items that training knows already, by a perceptual hash of 64 bits.

Hashes of at most MAX_BITS different bits are equal in one of MAX_BITS + 1 bands of bits at least. So in each band
equal values are looked up, and only within those are hashes compared.
"""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import numpy as np
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider

from mufin_dagster.quality.evidence import unlikely
from mufin_dagster.quality.expectations.judged import KEPT, Found, Judged, whole_frame

MAX_BITS = 2
"""Bits that may differ. The hash's medians make different pictures differ in 32 on average."""

PAIRS = 4_000_000
"""Pairs compared at once: 100 MB."""


def twin_of_hashes(hashes: np.ndarray, is_test: np.ndarray) -> np.ndarray:
    """A picture not of a test item that is near to each test item's, int64 [n]; -1 where there is none.

    Args:
        hashes: uint64 [n].
        is_test: bool [n].
    """
    twin = np.full(len(hashes), -1)
    # Distinct ones alone: shop windows repeat pictures, and a bucket's cost is quadratic.
    known, row = np.unique(hashes[~is_test], return_index=True)
    row = np.flatnonzero(~is_test)[row]
    asked, back = np.unique(hashes[is_test], return_inverse=True)
    found = np.full(len(asked), -1)
    edges = np.linspace(0, 64, MAX_BITS + 2).astype(int)
    for low, high in itertools.pairwise(edges):
        mask = np.uint64((1 << int(high - low)) - 1)
        band = (known >> np.uint64(low)) & mask
        order = np.argsort(band, kind="stable")
        left = np.flatnonzero(found < 0)
        wanted = (asked[left] >> np.uint64(low)) & mask
        start = np.searchsorted(band[order], wanted)
        count = np.searchsorted(band[order], wanted, side="right") - start
        for part in _parts(count):
            one = np.repeat(part, count[part])
            place = np.arange(len(one)) - np.repeat(np.cumsum(count[part]) - count[part], count[part]) + start[one]
            other = order[place]
            near = np.bitwise_count(asked[left[one]] ^ known[other]) <= MAX_BITS
            found[left[one[near]]] = row[other[near]]
    twin[is_test] = found[back]
    return twin


def _parts(count: np.ndarray) -> list[np.ndarray]:
    """Places of `count` in runs whose counts add up to PAIRS or, for a single place, more."""
    run = np.cumsum(count) // PAIRS
    return [part for part in np.split(np.arange(len(count)), np.flatnonzero(np.diff(run)) + 1) if count[part].sum()]


class NearPictures(TableMetricProvider):
    """Rows whose split is test, and those of them whose hash is near to one of another split."""

    metric_name = "table.near_pictures"
    value_keys = ("hash", "split")

    @metric_value(engine=PandasExecutionEngine)
    def _pandas(
        cls,
        execution_engine: PandasExecutionEngine,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any],
    ) -> Found:
        frame = whole_frame(execution_engine, metric_domain_kwargs)
        is_test = (frame[metric_value_kwargs["split"]] == "test").to_numpy(dtype=bool)
        column = metric_value_kwargs["hash"]
        twin = twin_of_hashes(frame[column].to_numpy(dtype=np.uint64), is_test)
        near = np.flatnonzero(twin >= 0)
        rows = []
        for row in near[:KEPT].tolist():
            told = frame.iloc[row].to_dict() | {"near_to": frame.iloc[twin[row]].to_dict()["id"]}
            rows.append(told | {column: f"{told[column]:016x}"})
        asked = int(is_test.sum())
        return Found(asked, len(near), rows, len(near) / asked if asked else None)


class ExpectTestPicturesToBeNew(Judged):
    """Expect few pictures of test items to be near to a picture of another split.

    Args:
        hash: column of perceptual hashes, uint64.
        split: column of splits; a column `id` names what a picture is near to.
        max_value: the largest share of the test items' pictures that may be near to another.
    """

    hash: str
    split: str

    metric_dependencies: ClassVar[tuple[str, ...]] = ("table.near_pictures",)
    success_keys: ClassVar[tuple[str, ...]] = ("hash", "split", "max_value")

    def tells(self, found: Found) -> bool:
        return unlikely(found.offending, found.asked, self.max_value)
