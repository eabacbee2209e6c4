"""A model below what anyone would try first is not released; what decides is apart from what the card reports."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import numpy as np
import pytest
from scipy.sparse import csr_matrix, load_npz

from mufin_model.artefacts import read_json, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.gate_items import gate_items
from mufin_model.errors import ArtefactError
from mufin_model.evaluation.floor import rivals
from mufin_model.evaluation.metrics import evaluate_scores, without
from mufin_model.release import ground, package
from mufin_model.release.card import recalls
from tests.conftest import Small

from .conftest import shelf_of

Site = Callable[..., Small]
AHEAD = {"difference": -0.12, "low": -0.18, "high": -0.06}


def reported(small: Small, **told: object) -> Small:
    """The report's metrics.json with some of its values replaced."""
    folder = small.workspace.path(small.dataset, "eval_report")
    source = folder.resolve()
    folder.unlink()
    shutil.copytree(source, folder)
    metrics = read_json(folder / "metrics.json")
    for name, value in told.items():
        metrics[name] = {**metrics[name], **value} if isinstance(value, dict) else value
    write_json(folder / "metrics.json", metrics)
    return small


def test_a_first_release_clearly_behind_a_baseline_is_refused(good: Small, site: Site) -> None:
    small = reported(site(good), items=300, intervals={"tfidf_knn": AHEAD})
    with pytest.raises(ArtefactError) as raised:
        small.run("release")
    (reason,) = raised.value.rows
    assert reason.startswith("a simple baseline is clearly ahead: TF-IDF nearest neighbours has P@1 ")
    assert "(-12 points, 95 % interval -18 to -6)" in reason
    assert shelf_of(small).current() is None


def test_one_that_is_level_or_that_few_items_judge_is_released_with_a_word(good: Small, site: Site) -> None:
    level = {**AHEAD, "high": 0.001}
    small = reported(site(good), items=300, intervals={"tfidf_knn": level})
    small.run("release")
    told = read_json(small.noun("released_model") / package.VERDICT)
    assert told["decision"] == "promoted"
    assert any(note.startswith("the best simple baseline: ") for note in told["notes"])


def test_few_items_cannot_tell(good: Small, site: Site) -> None:
    small = reported(site(good), items=7, intervals={"tfidf_knn": AHEAD}, mufin={"P@1": 0.0, "P@3": 0.0, "P@5": 0.0})
    small.run("release")
    told = read_json(small.noun("released_model") / package.VERDICT)
    assert told["decision"] == "promoted"
    assert "7 test items cannot tell it from a simple baseline" in told["notes"]
    assert "none of its first answers is right, for any of 7 test items" in told["notes"]


def test_the_best_baseline_is_named_first() -> None:
    metrics = {
        "mufin": {"P@1": 0.41},
        "popularity": {"P@1": 0.52},
        "tfidf_knn": {"P@1": 0.53},
        "siamese": {"P@1": 0.9},
        "intervals": {"popularity": AHEAD, "tfidf_knn": AHEAD, "siamese": AHEAD},
        "items": 100,
    }
    assert [(one.name, one.clearly_ahead) for one in rivals(metrics)] == [("tfidf_knn", True), ("popularity", True)]
    assert rivals({**metrics, "items": 20}) == []


def test_the_card_reports_items_by_which_the_gate_does_not_decide(good: Small, worse: Small, site: Site) -> None:
    site(worse).run("release")
    small = site(good)
    small.run("release")
    folder = small.noun("released_model")
    today = Catalog.load(small.noun("raw_descriptors"))
    decides = gate_items(today, small.settings.evaluate.gate_share)
    assert 0 < decides.sum() < len(decides)
    # the gate: its comparison is over its own items alone
    champion = shelf_of(small).path(read_json(folder / package.VERDICT)["champion"])
    over = ground.ground(folder, champion, today, small.settings.release, 1, small.settings.evaluate.gate_share)
    assert over.truth.shape[0] == decides.sum()
    compared = {one["name"]: one for one in read_json(folder / package.VERDICT)["compared"]}
    assert compared["P@1"]["over"] == decides.sum()
    # the card: the figures of the others
    truth = without(today.links("test"), today.filters("test"))
    scores = csr_matrix(load_npz(small.noun("predictions") / "mufin.npz"))
    shown = ~decides
    expected = evaluate_scores(scores[shown], truth[shown], np.ones(today.n_seen), (1,), (10,))
    told = read_json(small.noun("eval_report") / "metrics.json")["card"]
    assert told["items"] == shown.sum()
    assert told["methods"]["mufin"]["P@1"] == pytest.approx(expected["P@1"], abs=1e-6)
    assert read_json(folder / package.MANIFEST)["served_metrics"]["P@1"] == pytest.approx(expected["P@1"], abs=1e-6)
    card = (folder / "model_card.md").read_text()
    assert f"On {shown.sum()} of the {len(shown)} test items" in card


def test_a_card_of_few_links_says_that_it_cannot_tell() -> None:
    few = {"1-2": {"recall_10": 0.0, "labels": 3, "links": 5}, ">50": {"recall_10": 0.5, "labels": 9, "links": 900}}
    told = recalls(few)
    assert "for labels with 1-2 training items, 5 true links of 3 labels are too few to tell" in told
    assert "50.0 % for labels with >50 training items" in told
