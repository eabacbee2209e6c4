"""The evidence for a label, each column against a plain loop, and a re-ranker that learns from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mufin_model.ridge.classifiers import Fit
from mufin_model.ridge.evidence import NAMES, SHARPNESS, Labels, gather
from mufin_model.ridge.kernel import FORMS, itself
from mufin_model.ridge.reranker import LEAST, Reranker, train
from mufin_model.ridge.views import views

from .conftest import BOTH, CPU, World

SIZE = 12


@pytest.fixture(scope="module")
def fit(world: World) -> Fit:
    return Fit(world.known, world.links, FORMS[3], BOTH)


@pytest.fixture(scope="module")
def gathered(world: World, fit: Fit) -> tuple[np.ndarray, torch.Tensor, dict[tuple[str, ...], torch.Tensor]]:
    scores = {view: Fit(world.known, world.links, FORMS[3], view).left_out() for view in views(BOTH)}
    return *gather(fit.pair, Labels(world.labels, world.links), scores, BOTH, SIZE, own=True), scores


def column(evidence: torch.Tensor, name: str) -> np.ndarray:
    return evidence[:, :, NAMES.index(name)].numpy()


def test_shortlists_are_the_best_scores(gathered) -> None:
    labels, evidence, scores = gathered
    assert evidence.shape == (*labels.shape, len(NAMES))
    assert torch.isfinite(evidence).all()
    whole = scores[BOTH].numpy()
    np.testing.assert_allclose(column(evidence, "score"), -np.sort(-whole, 1)[:, :SIZE], atol=1e-6)
    np.testing.assert_allclose(
        column(evidence, "text score"), np.take_along_axis(scores["text",].numpy(), labels, 1), atol=1e-6
    )
    np.testing.assert_array_equal(column(evidence, "rank"), np.tile(np.arange(SIZE), (len(labels), 1)))


def test_votes_are_the_loop_and_no_item_votes_for_itself(world: World, fit: Fit, gathered) -> None:
    labels, evidence, _ = gathered
    links, kernel = world.links.toarray(), fit.pair.whole(BOTH).numpy()
    own = np.sqrt(itself(world.known, FORMS[3], BOTH)["whole"].numpy())
    similarity = kernel / own[:, None] / own[None]
    np.fill_diagonal(similarity, 0)
    for item in range(0, len(labels), 13):
        near = np.argsort(-similarity[item], kind="stable")[:10]
        weight = (similarity[item, near] / similarity[item, near[0]]) ** SHARPNESS
        expected = (weight / weight.sum()) @ links[near]
        np.testing.assert_allclose(column(evidence, "whole votes of 10")[item], expected[labels[item]], atol=1e-3)
        assert column(evidence, "whole nearest")[item, 0] == pytest.approx(similarity[item].max(), abs=1e-4)


def test_a_labels_frequency_is_that_of_other_items(world: World, gathered) -> None:
    labels, evidence, _ = gathered
    links = world.links.toarray() > 0
    octaves = np.floor(2 * np.log2(links.sum(0) + 1))[labels]
    for item in range(0, len(labels), 7):
        others = np.delete(links, item, axis=0).sum(0)[labels[item]]
        np.testing.assert_array_equal(column(evidence, "frequency")[item], np.floor(2 * np.log2(others + 1)))
    assert (column(evidence, "frequency") != octaves).any()


def test_a_label_is_named_by_the_share_of_its_words(world: World, gathered) -> None:
    labels, evidence, _ = gathered
    items, words = world.known.words.toarray() > 0, world.labels.words.toarray()
    for item in range(0, len(labels), 19):
        for place, label in enumerate(labels[item]):
            expected = words[label][items[item]].sum() / max(words[label].sum(), 1e-9)
            assert column(evidence, "label named")[item, place] == pytest.approx(expected, abs=1e-4)


def test_what_is_not_seen_is_no_evidence(world: World, fit: Fit) -> None:
    scores = {("text",): fit.left_out()}
    _, evidence = gather(fit.pair, Labels(world.labels, world.links), scores, ("text",), SIZE, own=True)
    for name in NAMES:
        if name.startswith(("image", "shown", "drawn", "label pictures", "label images")):
            assert not column(evidence, name).any(), name
    assert column(evidence, "text votes of 10").any()


def test_it_learns_what_the_first_column_hides(tmp_path: Path) -> None:
    generator, every = torch.Generator().manual_seed(0), torch.ones(400, 10, dtype=torch.bool)
    true = torch.rand(400, 10, generator=generator) < 0.2
    noise = torch.randn(400, 10, 4, generator=generator)
    noise[:, :, 2] += 3 * true
    made = train(noise[:300], true[:300], every[:300], networks=2, epochs=20, seed=1, device=CPU)
    best = made.score(noise[300:]).argmax(1)
    has = true[300:].any(1)
    assert true[300:][torch.arange(100), torch.from_numpy(best)][has].float().mean() > 0.85
    made.save(tmp_path / "reranker")
    again = Reranker.load(tmp_path / "reranker", CPU)
    np.testing.assert_array_equal(again.score(noise), made.score(noise))
    same = train(noise[:300], true[:300], every[:300], networks=2, epochs=20, seed=1, device=CPU)
    np.testing.assert_array_equal(same.score(noise), made.score(noise))


@pytest.mark.parametrize("told", [0, LEAST - 1, LEAST])
def test_networks_that_too_little_trains_are_none(told: int) -> None:
    """Items without a true label teach nothing, however many they are."""
    evidence, true = torch.randn(200, 3, 2), torch.zeros(200, 3, dtype=torch.bool)
    true[:told, 0] = True
    made = train(evidence, true, torch.ones_like(true), 1, 2, 0, CPU)
    assert (made is None) == (told < LEAST)


def test_evidence_never_seen_to_vary_does_not_rule() -> None:
    """A column that is constant in training, and all but constant, of an item that differs in it."""
    evidence = torch.randn(200, 6, 3, generator=torch.Generator().manual_seed(0))
    true = evidence[:, :, 0] > 1
    evidence[:, :, 1], evidence[:, :, 2] = 0.5, 0.5
    evidence[0, 0, 2] = 0.501
    made = train(evidence, true, torch.ones_like(true), networks=1, epochs=5, seed=1, device=CPU)
    odd = evidence[1:2].clone()
    odd[0, 0, 1:] = 1.0
    assert np.abs(made.score(odd) - made.score(evidence[1:2])).max() < 20
