"""The rules of finetuned_classifiers."""

from __future__ import annotations

from mufin_dagster.quality.rule import BETWEEN, CRITICAL, EQUAL, PAIR, WARNING, Rule, least, none, some, unit

NOUN = "finetuned_classifiers"

# fmt: off
RULES: tuple[Rule, ...] = (
    Rule("weights_finite", NOUN, "weights", BETWEEN, none("not_finite"), CRITICAL,
         "No weight is NaN or infinite."),
    Rule("loss_finite", NOUN, "curve", BETWEEN, some("finite"), CRITICAL,
         "The training loss was finite in every epoch."),
    Rule("rows_match", NOUN, "arrays", EQUAL, PAIR, CRITICAL, "One classifier for each seen label."),
    Rule("label_vectors_finite", NOUN, "label_vectors", BETWEEN, none("not_finite"), CRITICAL,
         "No label's classifier holds NaN or infinity."),
    Rule("label_vectors_unit", NOUN, "label_vectors", BETWEEN, unit("norm"), CRITICAL,
         "Every label's classifier has length 1."),
    Rule("labels_told_apart", NOUN, "label_vectors", BETWEEN, none("twins", mostly=0.99), WARNING,
         "At most 1 % of the labels share the very same classifier with another, which scores them alike."),
    Rule("classifiers_not_constant", NOUN, "arrays", BETWEEN, least("variance", 0.001), CRITICAL,
         "Classifiers are not all alike: two of them have a mean cosine below 0.999."),
)
# fmt: on
