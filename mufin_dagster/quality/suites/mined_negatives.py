"""The rules of mined_negatives."""

from __future__ import annotations

from mufin_dagster.quality.rule import BETWEEN, CRITICAL, EQUAL, PAIR, WARNING, Rule, none, some

NOUN = "mined_negatives"

# fmt: off
RULES: tuple[Rule, ...] = (
    Rule("rows_match", NOUN, "arrays", EQUAL, PAIR, CRITICAL,
         "One shortlist for each training item, of one width in all files."),
    Rule("labels_known", NOUN, "shortlists", BETWEEN, none("unknown"), CRITICAL,
         "Shortlists hold labels that exist and, where padded, -1."),
    Rule("labels_once", NOUN, "shortlists", BETWEEN, none("repeated"), CRITICAL, "No label is twice on a shortlist."),
    Rule("positives_marked", NOUN, "shortlists", BETWEEN, none("mismarked"), CRITICAL,
         "Exactly an item's own labels are marked as positive: none is among its negatives."),
    Rule("scores_finite", NOUN, "shortlists", BETWEEN, none("not_finite"), CRITICAL, "Every score is finite."),
    Rule("items_have_negatives", NOUN, "shortlists", BETWEEN, some("negatives", mostly=0.95), WARNING,
         "At least 95 % of the training items have a negative on their shortlist."),
    Rule("positives_found", NOUN, "linked_shortlists", BETWEEN, some("found", mostly=0.5), WARNING,
         "At least half of the training items with labels find one of them on their shortlist."),
    Rule("labels_covered", NOUN, "labels", BETWEEN, some("shortlisted", mostly=0.5), WARNING,
         "At least half of the seen labels are a negative of some item."),
)
# fmt: on
