"""The rules of encoder_embeddings."""

from __future__ import annotations

from mufin_dagster.quality.rule import BETWEEN, CRITICAL, EQUAL, PAIR, WARNING, Rule, least, none, unit

NOUN = "encoder_embeddings"

# fmt: off
RULES: tuple[Rule, ...] = (
    Rule("rows_match", NOUN, "arrays", EQUAL, PAIR, CRITICAL, "One vector for each image and each text."),
    Rule("image_vectors_finite", NOUN, "image_vectors", BETWEEN, none("not_finite"), CRITICAL,
         "No image vector holds NaN or infinity."),
    Rule("image_vectors_unit", NOUN, "image_vectors", BETWEEN, unit("norm"), CRITICAL,
         "Every image vector has length 1."),
    Rule("text_vectors_finite", NOUN, "text_vectors", BETWEEN, none("not_finite"), CRITICAL,
         "No text vector holds NaN or infinity."),
    Rule("text_vectors_unit", NOUN, "text_vectors", BETWEEN, unit("norm"), CRITICAL,
         "The vector of every text that is not empty has length 1."),
    Rule("empty_texts_zero", NOUN, "empty_texts", BETWEEN, none("norm"), WARNING,
         "The vector of an empty text is zero."),
    Rule("vectors_vary", NOUN, "arrays", BETWEEN, least("variance", 1e-6), WARNING,
         "A modality's vectors are not all the same."),
)
# fmt: on
