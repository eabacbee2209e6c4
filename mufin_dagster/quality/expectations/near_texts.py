"""Test texts that training knows already, but for the order, the case or the marks of their words, or for one word.

A text becomes the sum of its words' hashes. In a text of WORDS_FOR_ONE words and more, leaving out one word gives a
further sum for each word; where that is the sum of another text, this one has a word more. (A word changed is no near
copy: in a shop's titles that word is the product.) So equal keys are looked up and no pairs are compared: time and
memory are linear in the number of words.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import polars as pl
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider

from mufin_dagster.quality.evidence import unlikely
from mufin_dagster.quality.expectations.judged import KEPT, Found, Judged, whole_frame

WORDS_FOR_ONE = 8
"""Words from which on one may be more or less. In a name of three words one more makes another product."""


def twin_of_texts(texts: pl.Series, is_test: np.ndarray) -> np.ndarray:
    """The first text not of a test item that is near to each test item's text, int64 [n]; -1 where there is none.

    A text without a letter or a digit is near to none.

    Args:
        texts: [n], no nulls.
        is_test: bool [n].
    """
    words = (
        texts.str.normalize("NFKC")
        .str.to_lowercase()
        .str.replace_all(r"[^\p{L}\p{M}\p{N}]+", " ")
        .str.strip_chars(" ")
        .str.split(" ")
    )
    counts = words.list.len().to_numpy().astype(np.int64)
    flat = words.explode()
    hashes = np.where((flat == "").to_numpy(), np.uint64(0), flat.hash(seed=1).to_numpy())
    ends = np.cumsum(counts)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(hashes, dtype=np.uint64)])  # modulo 2^64
    whole = sums[ends] - sums[ends - counts]
    text = np.repeat(np.arange(len(counts)), counts)
    long = counts[text] >= WORDS_FOR_ONE
    one, some = text[long], whole[text[long]] - hashes[long]
    every = np.arange(len(counts))
    twin = np.full(len(counts), -1)
    # Without a word: of the test text, then of the other; as they are last, so that an equal one is what is told.
    for asked, asked_key, known, known_key in (
        (one, some, every, whole),
        (every, whole, one, some),
        (every, whole, every, whole),
    ):
        _look_up(twin, is_test, asked, asked_key, known, known_key)
    return twin


def _look_up(
    twin: np.ndarray,
    is_test: np.ndarray,
    asked: np.ndarray,
    asked_key: np.ndarray,
    known: np.ndarray,
    known_key: np.ndarray,
) -> None:
    """Note in `twin` of each test text in `asked` the first other text in `known` that has its key; 0 is no key."""
    ours, others = is_test[asked] & (asked_key != 0), ~is_test[known] & (known_key != 0)
    keys, first = np.unique(known_key[others], return_index=True)
    if len(keys):
        place = np.searchsorted(keys, asked_key[ours]).clip(max=len(keys) - 1)
        hit = keys[place] == asked_key[ours]
        twin[asked[ours][hit]] = known[others][first[place[hit]]]


class NearTexts(TableMetricProvider):
    """Rows whose split is test, and those of them whose text is near to one of another split."""

    metric_name = "table.near_texts"
    value_keys = ("text", "split")

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
        texts = frame[metric_value_kwargs["text"]]
        twin = twin_of_texts(pl.Series(texts.to_numpy(dtype=object), dtype=pl.String).fill_null(""), is_test)
        near = np.flatnonzero(twin >= 0)
        rows = [{**frame.iloc[row].to_dict(), "near_to": str(texts.iloc[twin[row]])} for row in near[:KEPT].tolist()]
        asked = int(is_test.sum())
        return Found(asked, len(near), rows, len(near) / asked if asked else None)


class ExpectTestTextsToBeNew(Judged):
    """Expect few texts of test items to be near to a text of another split.

    Args:
        text: column of texts.
        split: column of splits.
        max_value: the largest share of the test items that may be near to another.
    """

    text: str
    split: str

    metric_dependencies: ClassVar[tuple[str, ...]] = ("table.near_texts",)
    success_keys: ClassVar[tuple[str, ...]] = ("text", "split", "max_value")

    def tells(self, found: Found) -> bool:
        return unlikely(found.offending, found.asked, self.max_value)
