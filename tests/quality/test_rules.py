"""Each rule passes on good artefacts and fails, by itself and for its reason, on each broken one."""

from __future__ import annotations

import numpy as np
import pytest

from mufin_dagster.quality import evidence, frames, rules
from mufin_dagster.quality.expectations import head_share
from mufin_dagster.quality.rule import BETWEEN, NOT_NULL, Rule
from mufin_dagster.quality.rules import RULES
from mufin_dagster.quality.validator import judge, validate
from mufin_dagster.quality.vectors import summarize
from mufin_model.artefacts import NOUNS, Workspace
from mufin_model.errors import ArtefactError

from .artefacts import BAD, BAD_OF, DATASET, RAW, Break, change_table, set_cell

CASES = [
    pytest.param(rule, broken, id=f"{rule.noun}-{rule.name}-{number}")
    for rule in RULES
    for number, broken in enumerate(BAD_OF.get(rule.noun, {}).get(rule.name, []))
]


@pytest.mark.parametrize("noun", rules.nouns())
def test_good_artefacts_pass(workspace: Workspace, noun: str) -> None:
    outcomes = validate(workspace, DATASET, noun)
    assert [outcome.rule.name for outcome in outcomes] == [rule.name for rule in rules.of(noun)]
    assert {o.rule.name: (o.summary, o.rows) for o in outcomes if not o.passed} == {}


@pytest.mark.parametrize(("rule", "broken"), CASES)
def test_broken_artefacts_fail(
    workspace: Workspace, rule: Rule, broken: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    # fourteen items are few: here every break counts, whether chance may do it or not
    monkeypatch.setattr(evidence, "UNLIKELY", 1.0)
    monkeypatch.setattr(head_share, "SMALLEST", 0.0)
    broken(workspace.root)
    (outcome,) = validate(workspace, DATASET, rule.noun, {rule.name})
    assert not outcome.passed
    assert outcome.error == "", "it must fail by its expectation, not by an exception"
    assert outcome.unexpected_count > 0
    assert outcome.rows, "the first offending rows are shown"


def test_every_rule_has_a_broken_case() -> None:
    assert {(noun, name) for noun in BAD_OF for name in BAD_OF[noun]} == {(rule.noun, rule.name) for rule in RULES}


def test_rules_are_well_formed() -> None:
    keys = [(rule.noun, rule.name) for rule in RULES]
    assert len(set(keys)) == len(keys)
    for rule in RULES:
        assert rule.noun in NOUNS.values()
        assert rule.table in frames.tables(rule.noun)
        assert rule.description.endswith(".")


def test_no_expectation_skips_a_null(workspace: Workspace) -> None:
    """A column that may hold nulls has a NOT_NULL rule; every other column of a rule never does."""
    for damage in (BAD["item_ids_not_null"], BAD["item_splits_not_null"], BAD["link_splits_not_null"]):
        damage[0](workspace.root)
    for damage in (BAD["image_vectors_finite"], BAD["text_vectors_finite"]):
        damage[0](workspace.root)
    source = frames.Source(workspace, DATASET)
    guarded = {(rule.noun, rule.table, rule.kwargs["column"]) for rule in RULES if rule.expectation == NOT_NULL}
    for rule in RULES:
        frame = frames.build(source, rule.noun, rule.table)
        for argument in ("column", "column_A", "column_B"):
            column = rule.kwargs.get(argument)
            if column and (rule.noun, rule.table, column) not in guarded:
                assert not frame[column].isna().any(), f"{rule.name}: {column} holds nulls"


def test_offending_rows_are_named(workspace: Workspace) -> None:
    BAD["links_within_split"][0](workspace.root)
    (outcome,) = validate(workspace, DATASET, RAW, {"links_within_split"})
    assert outcome.unexpected_count == 1
    assert outcome.element_count == 14
    assert outcome.rows[0]["id"] == "i13"


def test_damaged_files_fail_their_rules_and_no_others(workspace: Workspace) -> None:
    (workspace.path(DATASET, RAW) / "images" / "index.json").write_bytes(b"damaged")
    failed = {outcome.rule.name: outcome for outcome in validate(workspace, DATASET, RAW) if not outcome.passed}
    assert set(failed) == {"references_known", "images_decode", "images_not_flat", "test_pictures_new"}
    assert "cannot read" in failed["images_decode"].error


def test_an_exception_in_an_expectation_is_a_failed_outcome(workspace: Workspace) -> None:
    frame = frames.build(frames.Source(workspace, DATASET), RAW, "items")
    unknown = Rule("x", RAW, "items", BETWEEN, {"column": "nowhere", "min_value": 0}, "critical", "It is.")
    (outcome,) = judge(frame, [unknown])
    assert not outcome.passed
    assert "nowhere" in outcome.error


def test_an_artefact_that_is_not_there(workspace: Workspace) -> None:
    with pytest.raises(ArtefactError, match="does not exist"):
        validate(workspace, "other", RAW)


def test_empty_tables_pass_what_says_nothing_of_them(workspace: Workspace) -> None:
    """No zero-shot label, no empty text: nothing breaks the rules about them."""
    BAD["labels_trained"][0](workspace.root)
    set_cell("labels", "zero_shot", 4, False)(workspace.root)
    change_table("filters", lambda f: f.clear())(workspace.root)
    outcomes = validate(workspace, DATASET, RAW, {"zero_shot_labels_unseen", "references_known"})
    assert all(outcome.passed for outcome in outcomes)


def test_blocks_of_rows_give_what_the_whole_array_gives() -> None:
    array = np.random.default_rng(1).standard_normal((23, 5)).astype(np.float32)
    array[4, 1], array[20, 3], array[7] = np.nan, np.inf, 0
    whole, blocks = summarize(array), summarize(array, values=20)
    np.testing.assert_allclose(whole.norm, blocks.norm)
    np.testing.assert_array_equal(whole.not_finite, blocks.not_finite)
    assert whole.not_finite.nonzero()[0].tolist() == [4, 20]
    kept = np.delete(array, [4, 7, 20], axis=0)
    expected = float(((kept - kept.mean(0)) ** 2).sum(1).mean())
    assert blocks.variance == pytest.approx(whole.variance) == pytest.approx(expected, rel=1e-5)
