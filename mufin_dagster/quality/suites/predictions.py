"""The rules of predictions."""

from __future__ import annotations

from mufin_dagster.quality.rule import BETWEEN, CRITICAL, EQUAL, PAIR, WARNING, Rule, most, none, some

NOUN = "predictions"

# fmt: off
RULES: tuple[Rule, ...] = (
    Rule("shapes", NOUN, "files", EQUAL, PAIR, CRITICAL,
         "Every file holds a row for each test item and a column for each seen (or each zero-shot) label."),
    Rule("scores_finite", NOUN, "files", BETWEEN, none("not_finite"), CRITICAL, "Every score is finite."),
    Rule("labels_known", NOUN, "files", BETWEEN, none("unknown"), CRITICAL,
         "Every score is of a label that exists: no padding is among them."),
    Rule("labels_once", NOUN, "files", BETWEEN, none("repeated"), CRITICAL, "No item has two scores of one label."),
    Rule("filters_kept", NOUN, "files", BETWEEN, none("filtered"), CRITICAL,
         "No pair that the catalogue excludes is predicted."),
    Rule("items_scored", NOUN, "items", BETWEEN, some("scored", mostly=0.99), CRITICAL,
         "At least 99 % of the test items have a label."),
    Rule("items_scored_enough", NOUN, "items", BETWEEN, none("short", mostly=0.95), WARNING,
         "At least 95 % of the test items have five labels, as P@5 asks, or all that they may have."),
    Rule("first_labels_vary", NOUN, "first_labels", BETWEEN, most("surely", 0.5), WARNING,
         "No label is the first of more than half of the test items."),
)
# fmt: on
