"""The rules of eval_report."""

from __future__ import annotations

from mufin_dagster.quality.rule import BETWEEN, CRITICAL, WARNING, Rule, least, most, some

NOUN = "eval_report"

# fmt: off
RULES: tuple[Rule, ...] = (
    Rule("metrics_in_range", NOUN, "metrics", BETWEEN, {"column": "value", "min_value": 0, "max_value": 1}, CRITICAL,
         "Every metric is a number from 0 to 1."),
    Rule("metrics_there", NOUN, "methods", BETWEEN, some("found"), CRITICAL, "The report has figures of MUFIN."),
    Rule("better_than_popularity", NOUN, "against_popularity", BETWEEN, least("ahead", 0), WARNING,
         "MUFIN is no worse than always offering the most frequent labels."),
    Rule("no_baseline_clearly_ahead", NOUN, "against_baselines", BETWEEN, least("high", 0), CRITICAL,
         "No simple baseline (popularity, nearest neighbours, linear one-vs-all) is clearly ahead of MUFIN in P@1: the "
         "95 % interval of the difference reaches zero."),
    Rule("no_baseline_ahead", NOUN, "against_baselines", BETWEEN, least("ahead", 0), WARNING,
         "No simple baseline has a higher P@1 than MUFIN."),
    Rule("not_far_below_release", NOUN, "headline_against_release", BETWEEN, most("lost", 0.05), WARNING,
         "P@1 is at most 5 points of a hundred below that of the last release."),
    Rule("not_below_release", NOUN, "against_release", BETWEEN, most("lost", 0.01), WARNING,
         "No metric is more than a point of a hundred below that of the last release."),
)
# fmt: on
