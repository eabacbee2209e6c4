"""The rules of pretrained_model."""

from __future__ import annotations

from mufin_dagster.quality.rule import BETWEEN, CRITICAL, EQUAL, PAIR, STABLE, WARNING, Rule, least, none, some, unit

NOUN = "pretrained_model"

# fmt: off
RULES: tuple[Rule, ...] = (
    Rule("weights_finite", NOUN, "weights", BETWEEN, none("not_finite"), CRITICAL,
         "No weight is NaN or infinite."),
    Rule("loss_finite", NOUN, "curve", BETWEEN, some("finite"), CRITICAL,
         "The training loss was finite in every epoch."),
    Rule("rows_match", NOUN, "arrays", EQUAL, PAIR, CRITICAL, "One vector for each item and each label."),
    Rule("item_vectors_finite", NOUN, "item_vectors", BETWEEN, none("not_finite"), CRITICAL,
         "No item's vector holds NaN or infinity."),
    Rule("item_vectors_unit", NOUN, "item_vectors", BETWEEN, unit("norm"), CRITICAL,
         "Every item's vector has length 1."),
    Rule("label_vectors_finite", NOUN, "label_vectors", BETWEEN, none("not_finite"), CRITICAL,
         "No label's vector holds NaN or infinity."),
    Rule("label_vectors_unit", NOUN, "label_vectors", BETWEEN, unit("norm"), CRITICAL,
         "Every label's vector has length 1."),
    # What training may collapse into; on healthy catalogues the variance is 0.9, the rank 9 to 75.
    Rule("embeddings_not_constant", NOUN, "arrays", BETWEEN, least("variance", 0.001), CRITICAL,
         "Items, and labels, are not all embedded alike: two of them have a mean cosine below 0.999."),
    Rule("embeddings_spread", NOUN, "arrays", BETWEEN, least("variance", 0.1), WARNING,
         "Embeddings use more than a narrow cone: two of them have a mean cosine below 0.9."),
    Rule("embeddings_not_collapsed", NOUN, "arrays", BETWEEN, least("rank", 3), WARNING,
         "Embeddings vary in three directions at least (participation ratio of the covariance)."),
    Rule("items_stable", NOUN, "item_drift", STABLE, {"column": "cosine", "era": "era", "max_value": 0.25}, WARNING,
         "Items lie about their mean as in the last release (PSI at most 0.25)."),
    Rule("labels_stable", NOUN, "label_drift", STABLE, {"column": "cosine", "era": "era", "max_value": 0.25}, WARNING,
         "Labels lie about their mean as in the last release (PSI at most 0.25)."),
)
# fmt: on
