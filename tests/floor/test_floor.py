"""The least that the model must be: figures on small catalogues of different character, and never below a baseline.

Settings are tiny and there are no pretrained weights, so that all of it takes a minute. A model that answers at random
fails every one of these.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix, load_npz

from mufin_model.artefacts import Workspace, read_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.evaluation.metrics import evaluate_scores, without
from mufin_model.release.ground import queries
from mufin_model.release.model import Answer, Model
from tests.conftest import VERBS, Small, small_settings

from .catalogues import FLOORS, Made, dominant, equal_pictures, equal_texts, long_tail, one_item_a_label, zero_shot

MARGIN = 0.08
"""How far below the best of popularity and nearest neighbours P@1 may be: three of forty test items by chance."""
SETTINGS = ("encode.image_backbone=handmade", "predict.top_k=20", "evaluate.recall_ks=[10]")


@pytest.fixture(scope="session")
def modelled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable], Small]:
    """A catalogue taken through all stages, once."""
    kept: dict[Callable, Small] = {}

    def make(of: Callable[[np.random.Generator], Made]) -> Small:
        if of not in kept:
            small = Small(Workspace(tmp_path_factory.mktemp(of.__name__)), small_settings(*SETTINGS))
            of(np.random.default_rng(11)).write(small.workspace.catalog(small.dataset))
            small.run(*VERBS, "evaluate")
            kept[of] = small
        return kept[of]

    return make


def figures(small: Small) -> dict[str, dict[str, float]]:
    return read_json(small.noun("eval_report") / "metrics.json")


@pytest.mark.parametrize("of", FLOORS, ids=lambda of: of.__name__)
def test_named_figures_and_no_baseline_far_ahead(of: Callable, modelled: Callable[[Callable], Small]) -> None:
    told = figures(modelled(of))
    ours = told["mufin"]["P@1"]
    assert ours >= FLOORS[of] - 1e-9
    rivals = {name: told[name]["P@1"] for name in ("popularity", "tfidf_knn", "image_knn") if name in told}
    assert ours >= max(rivals.values()) - MARGIN, rivals


@pytest.mark.parametrize("of", FLOORS, ids=lambda of: of.__name__)
def test_random_answers_fail(of: Callable, modelled: Callable[[Callable], Small]) -> None:
    """The floor is worth something: the same scores, dealt out to other labels, are below it."""
    small = modelled(of)
    catalog = Catalog.load(small.noun("raw_descriptors"))
    if catalog.n_seen < 3:
        pytest.skip("of one or two labels a random answer is often right")
    truth = without(catalog.links("test"), catalog.filters("test"))
    scores = csr_matrix(load_npz(small.noun("predictions") / "mufin.npz"))
    rng = np.random.default_rng(5)
    dealt = [rng.choice(catalog.n_seen, count, replace=False) for count in np.diff(scores.indptr)]
    shuffled = csr_matrix((scores.data, np.concatenate(dealt), scores.indptr), shape=scores.shape)
    found = evaluate_scores(shuffled, truth, np.ones(catalog.n_seen), (1,), (10,))
    assert found["P@1"] < FLOORS[of]


def test_zero_shot_labels_are_found_by_their_words(modelled: Callable[[Callable], Small]) -> None:
    told = figures(modelled(zero_shot))["zero_shot"]
    assert told["R@10"] >= told["chance R@10"]
    assert told["labels"] == 10


def test_what_no_item_shows_is_popularity(modelled: Callable[[Callable], Small]) -> None:
    """Images alone, where there are none, rank labels by their frequency."""
    for of in (dominant, equal_texts):
        told = figures(modelled(of))
        assert told["image_only"]["P@1"] >= told["popularity"]["P@1"] - 1e-9


def test_a_part_that_was_not_trained_has_no_say(modelled: Callable[[Callable], Small]) -> None:
    small = modelled(one_item_a_label)
    assert not list((small.noun("finetuned_classifiers") / "ridge").rglob("reranker"))
    weights = read_json(small.noun("predictions") / "fusion.json")["weights"]
    assert "reranker" not in weights
    assert weights["ridge"] == 1
    assert "reranker" in read_json(modelled(long_tail).noun("predictions") / "fusion.json")["weights"]


def named(answers: list[list[Answer]]) -> list[list[str]]:
    return [[answer.label for answer in row] for row in answers]


@pytest.mark.parametrize("of", [equal_pictures, equal_texts, dominant], ids=lambda of: of.__name__)
def test_an_item_is_answered_alone_as_in_a_batch(of: Callable, modelled: Callable[[Callable], Small]) -> None:
    """Equal items get equal answers, whatever is asked beside them; so the gate finds what was measured."""
    small = modelled(of)
    small.run("release")
    model = Model(small.noun("released_model"))
    catalog = Catalog.load(small.noun("raw_descriptors"))
    asked = queries(catalog, catalog.rows("test")[:30], model.encoder.sees_pictures)
    together = named(model(asked, 5))
    assert [named(model([query], 5))[0] for query in asked] == together
    assert named(model(asked[::-1], 5))[::-1] == together
    if of is equal_texts:
        assert all(answers == together[0] for answers in together)


def test_a_modality_that_is_the_same_for_all_is_named(modelled: Callable[[Callable], Small]) -> None:
    for of, words in (
        (equal_pictures, "every item shows the same pictures"),
        (equal_texts, "every item has the same text"),
    ):
        small = modelled(of)
        assert figures(small)["same_for_all"] == [words.split()[-1].removesuffix("s").replace("picture", "image")]
        assert words in (small.noun("eval_report") / "report.html").read_text()
    assert figures(modelled(dominant))["same_for_all"] == []


def test_the_folder_names_no_test_twice() -> None:
    assert len({of.__name__ for of in FLOORS}) == len(FLOORS) >= 12
    assert Path(__file__).with_name("catalogues.py").is_file()
