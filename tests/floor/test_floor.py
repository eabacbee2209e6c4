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
from tests.conftest import VERBS, Small, small_settings

from .catalogues import FLOORS, Made

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
    from .catalogues import zero_shot

    told = figures(modelled(zero_shot))["zero_shot"]
    assert told["R@10"] >= told["chance R@10"]
    assert told["labels"] == 10


def test_what_no_item_shows_is_popularity(modelled: Callable[[Callable], Small]) -> None:
    """Images alone, where there are none, rank labels by their frequency."""
    from .catalogues import dominant, equal_texts

    for of in (dominant, equal_texts):
        told = figures(modelled(of))
        assert told["image_only"]["P@1"] >= told["popularity"]["P@1"] - 1e-9


def test_a_part_that_was_not_trained_has_no_say(modelled: Callable[[Callable], Small]) -> None:
    from .catalogues import long_tail, one_item_a_label

    small = modelled(one_item_a_label)
    assert not list((small.noun("finetuned_classifiers") / "ridge").rglob("reranker"))
    weights = read_json(small.noun("predictions") / "fusion.json")["weights"]
    assert "reranker" not in weights
    assert weights["ridge"] == 1
    assert "reranker" in read_json(modelled(long_tail).noun("predictions") / "fusion.json")["weights"]


def test_the_folder_names_no_test_twice() -> None:
    assert len({of.__name__ for of in FLOORS}) == len(FLOORS) >= 12
    assert Path(__file__).with_name("catalogues.py").is_file()
