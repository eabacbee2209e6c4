"""The rules of anns_index."""

from __future__ import annotations

from mufin_dagster.quality.rule import BETWEEN, CRITICAL, EQUAL, PAIR, WARNING, Rule, least, none, unit

NOUN = "anns_index"

# fmt: off
RULES: tuple[Rule, ...] = (
    Rule("rows_match", NOUN, "arrays", EQUAL, PAIR, CRITICAL,
         "One vector for each label, and each seen label in the index."),
    Rule("label_vectors_finite", NOUN, "label_vectors", BETWEEN, none("not_finite"), CRITICAL,
         "No label's vector holds NaN or infinity."),
    Rule("label_vectors_unit", NOUN, "label_vectors", BETWEEN, unit("norm"), CRITICAL,
         "Every label's vector has length 1."),
    Rule("index_works", NOUN, "queries", BETWEEN, least("recall", 0.5, mostly=0.9), CRITICAL,
         "For at least 90 % of a sample of 500 items the index finds half of the 10 nearest labels."),
    Rule("index_recall", NOUN, "queries", BETWEEN, least("recall", 0.9, mostly=0.9), WARNING,
         "For at least 90 % of a sample of 500 items the index finds 9 of the 10 nearest labels."),
)
# fmt: on
