"""The rules an artefact must keep, as data: adding an expectation is adding a line (docs/quality.md).

Nothing here imports Great Expectations (seven seconds): Dagster builds its check specs from these lines when the
code location loads, and `validator` constructs the expectations only when a check runs.

Great Expectations counts NaN as null, and an expectation about values skips nulls. So a rule on a column that may
hold nulls comes with a NOT_NULL rule beside it; the tests refuse one without.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["critical", "warning"]
CRITICAL: Severity = "critical"
"""Stops every later stage."""
WARNING: Severity = "warning"
"""Is shown and stops nothing."""


@dataclass(frozen=True)
class Rule:
    """One expectation about one summary table of one artefact.

    Attributes:
        name: unique within its noun; the asset check's name.
        noun: the artefact, as in `mufin_model.artefacts.NOUNS`.
        table: a key of TABLES in the module `mufin_dagster.quality.<noun>`.
        expectation: a class name in `great_expectations.expectations`.
        kwargs: its arguments.
        severity: "critical" (blocking) or "warning".
        description: what holds when the rule passes, in a sentence.
    """

    name: str
    noun: str
    table: str
    expectation: str
    kwargs: Mapping[str, Any]
    severity: Severity
    description: str


UNIQUE = "ExpectColumnValuesToBeUnique"
NOT_NULL = "ExpectColumnValuesToNotBeNull"
IN_SET = "ExpectColumnValuesToBeInSet"
BETWEEN = "ExpectColumnValuesToBeBetween"
EQUAL = "ExpectColumnPairValuesToBeEqual"

ITEM_SPLITS = ["train", "val", "test"]
LINK_SPLITS = [*ITEM_SPLITS, "zero_shot"]


def _none(column: str) -> dict[str, Any]:
    return {"column": column, "min_value": 0, "max_value": 0}


def _some(column: str, mostly: float = 1.0) -> dict[str, Any]:
    return {"column": column, "min_value": 1, "mostly": mostly}


def _unit(column: str) -> dict[str, Any]:
    # float16 rounds a coordinate by 2^-11 at most, and a norm by less than that
    return {"column": column, "min_value": 0.999, "max_value": 1.001}


_RAW = "raw_descriptors"
_ENC = "encoder_embeddings"
_PAIR = {"column_A": "expected", "column_B": "found"}

# fmt: off
RULES: tuple[Rule, ...] = (
    # shape
    Rule("schema", _RAW, "schema", EQUAL, _PAIR, CRITICAL, "Every table has its columns, of their types."),
    Rule("item_ids_not_null", _RAW, "items", NOT_NULL, {"column": "id"}, CRITICAL, "Every item has an id."),
    Rule("item_ids_unique", _RAW, "items", UNIQUE, {"column": "id"}, CRITICAL, "No two items share an id."),
    Rule("label_ids_not_null", _RAW, "labels", NOT_NULL, {"column": "id"}, CRITICAL, "Every label has an id."),
    Rule("label_ids_unique", _RAW, "labels", UNIQUE, {"column": "id"}, CRITICAL, "No two labels share an id."),
    Rule("references_known", _RAW, "references", BETWEEN, _none("dangling"), CRITICAL,
         "Every link, filter and bag points at an item, a label and an image that exist."),
    Rule("links_unique", _RAW, "links", BETWEEN, _none("repeated"), CRITICAL, "No link is there twice."),
    # splits and leakage
    Rule("item_splits_not_null", _RAW, "items", NOT_NULL, {"column": "split"}, CRITICAL, "Every item has a split."),
    Rule("item_splits_known", _RAW, "items", IN_SET, {"column": "split", "value_set": ITEM_SPLITS}, CRITICAL,
         "An item's split is train, val or test."),
    Rule("link_splits_not_null", _RAW, "links", NOT_NULL, {"column": "split"}, CRITICAL, "Every link has a split."),
    Rule("link_splits_known", _RAW, "links", IN_SET, {"column": "split", "value_set": LINK_SPLITS}, CRITICAL,
         "A link's split is train, val, test or zero_shot."),
    Rule("splits_not_empty", _RAW, "required_splits", BETWEEN, _some("linked_items"), CRITICAL,
         "The training and the test split have items with links."),
    Rule("validation_not_empty", _RAW, "validation_split", BETWEEN, _some("linked_items"), WARNING,
         "There are validation items: they choose the weights of the fusion."),
    Rule("items_in_one_split", _RAW, "items", BETWEEN, {"column": "splits", "max_value": 1}, CRITICAL,
         "No item is in two splits."),
    Rule("links_within_split", _RAW, "items", BETWEEN, _none("foreign_links"), CRITICAL,
         "A link is in its item's split: no test item has training links."),
    Rule("zero_shot_labels_unseen", _RAW, "zero_shot_labels", BETWEEN, _none("train_items"), CRITICAL,
         "No zero-shot label has training items."),
    Rule("test_items_new", _RAW, "test_items", BETWEEN, _none("train_twins") | {"mostly": 0.95}, WARNING,
         "At most 5 % of the test items have a training item of the same text and images."),
    # what a bag holds
    Rule("images_decode", _RAW, "images", IN_SET, {"column": "fault", "value_set": ["none"]}, CRITICAL,
         "A sample of 500 images decodes, each to its declared size."),
    Rule("images_not_flat", _RAW, "images", BETWEEN, _some("contrast", mostly=0.95), WARNING,
         "At most 5 % of a sample of 500 images are of one colour."),
    Rule("items_described", _RAW, "items", BETWEEN, _some("descriptors"), CRITICAL,
         "Every item has a text or an image."),
    Rule("labels_described", _RAW, "labels", BETWEEN, _some("descriptors"), WARNING,
         "Every label has a text or an image."),
    Rule("items_with_text", _RAW, "items", BETWEEN, _some("texts", mostly=0.7), WARNING,
         "At least 70 % of the items have a text."),
    Rule("items_with_images", _RAW, "items", BETWEEN, _some("images", mostly=0.7), WARNING,
         "At least 70 % of the items have an image."),
    Rule("labels_trained", _RAW, "seen_labels", BETWEEN, _some("train_items", mostly=0.95), WARNING,
         "At least 95 % of the seen labels have a training item."),

    Rule("rows_match", _ENC, "arrays", EQUAL, _PAIR, CRITICAL, "One vector for each image and each text."),
    Rule("image_vectors_finite", _ENC, "image_vectors", BETWEEN, _none("not_finite"), CRITICAL,
         "No image vector holds NaN or infinity."),
    Rule("image_vectors_unit", _ENC, "image_vectors", BETWEEN, _unit("norm"), CRITICAL,
         "Every image vector has length 1."),
    Rule("text_vectors_finite", _ENC, "text_vectors", BETWEEN, _none("not_finite"), CRITICAL,
         "No text vector holds NaN or infinity."),
    Rule("text_vectors_unit", _ENC, "text_vectors", BETWEEN, _unit("norm"), CRITICAL,
         "The vector of every text that is not empty has length 1."),
    Rule("empty_texts_zero", _ENC, "empty_texts", BETWEEN, _none("norm"), WARNING,
         "The vector of an empty text is zero."),
    Rule("vectors_vary", _ENC, "arrays", BETWEEN, {"column": "variance", "min_value": 1e-6}, WARNING,
         "A modality's vectors are not all the same."),
)
# fmt: on


def nouns() -> list[str]:
    """The artefacts that have rules, in the order in which data flows."""
    return list(dict.fromkeys(rule.noun for rule in RULES))


def of(noun: str, names: Collection[str] | None = None) -> list[Rule]:
    """The rules of one artefact; none for an artefact without rules.

    Args:
        noun: the artefact.
        names: only these; all where None.
    """
    return [rule for rule in RULES if rule.noun == noun and (names is None or rule.name in names)]
