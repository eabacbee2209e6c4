"""The rules an artefact must keep (docs/quality.md); the lines themselves are in `suites`, a module a noun.

Nothing here imports Great Expectations (seven seconds): Dagster builds its check specs from these lines when the
code location loads, and `validator` constructs the expectations only when a check runs.

Great Expectations counts NaN as null, and an expectation about values skips nulls. So a rule on a column that may
hold nulls comes with a NOT_NULL rule beside it; the tests refuse one without.
"""

from __future__ import annotations

from collections.abc import Collection

from mufin_dagster.quality.rule import CRITICAL, WARNING, Rule, Severity
from mufin_dagster.quality.suites import (
    anns_index,
    encoder_embeddings,
    eval_report,
    finetuned_classifiers,
    mined_negatives,
    predictions,
    pretrained_model,
    raw_descriptors,
)

__all__ = ["CRITICAL", "RULES", "WARNING", "Rule", "Severity", "nouns", "of"]

RULES: tuple[Rule, ...] = (
    *raw_descriptors.RULES,
    *encoder_embeddings.RULES,
    *pretrained_model.RULES,
    *anns_index.RULES,
    *mined_negatives.RULES,
    *finetuned_classifiers.RULES,
    *predictions.RULES,
    *eval_report.RULES,
)


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
