"""The closed-form classifiers: against the formula, against a second fit without the item, against masking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from mufin_model.errors import ArtefactError
from mufin_model.ridge.classifiers import DIAGONAL, INTERCEPT, Fit, _inverse, choose
from mufin_model.ridge.kernel import FORMS, Form, Pair, itself, width
from mufin_model.ridge.views import load_ridge, save_ridge

from .conftest import BOTH, World

VIEWS = [BOTH, ("text",), ("image",)]


@pytest.mark.parametrize("form", FORMS)
def test_scores_solve_the_ridge_equations(world: World, form: Form) -> None:
    known, asked = world.known, world.items.take(world.catalog.rows("test"))
    spread = width(known)
    kernel = Pair(known, known, form, spread).whole(BOTH).double().numpy()
    assert np.allclose(kernel, kernel.T, atol=1e-5)
    scale = DIAGONAL / kernel.diagonal().mean()
    penalty = form.penalty * np.eye(len(known))
    weights = np.linalg.solve(kernel * scale + INTERCEPT + penalty, world.links.toarray())
    expected = (Pair(asked, known, form, spread).whole(BOTH).double().numpy() * scale + INTERCEPT) @ weights
    ridge = Fit(known, world.links, form, BOTH).ridge
    np.testing.assert_allclose(ridge.score(ridge.pair(asked)).numpy(), expected, atol=2e-3)


@pytest.mark.parametrize("view", VIEWS, ids="+".join)
def test_left_out_is_a_fit_without_the_item(world: World, view: tuple[str, ...]) -> None:
    form, known = FORMS[1], world.known
    fit = Fit(known, world.links, form, view)
    found, truth = fit.left_out().numpy(), world.links.toarray()
    kernel = fit.pair.whole(view).double().numpy() * fit.ridge.scale + INTERCEPT
    for item in range(0, len(known), 17):
        rest = np.delete(np.arange(len(known)), item)
        weights = np.linalg.solve(kernel[np.ix_(rest, rest)] + form.penalty * np.eye(len(rest)), truth[rest])
        np.testing.assert_allclose(found[item], kernel[item, rest] @ weights, atol=2e-3)


def test_a_masked_modality_is_not_looked_at(world: World) -> None:
    asked = world.items.take(world.catalog.rows("test"))
    mute = replace(
        asked,
        words=csr_matrix(asked.words.shape, dtype=np.float32),
        characters=csr_matrix(asked.characters.shape, dtype=np.float32),
        sentences=torch.zeros_like(asked.sentences),
    )
    for view in VIEWS:
        ridge = Fit(world.known, world.links, FORMS[1], view).ridge
        heard = (ridge.score(ridge.pair(mute)) - ridge.score(ridge.pair(asked))).abs().max()
        assert (heard > 1e-3) == ("text" in view)


@pytest.mark.parametrize("form", FORMS)
def test_likeness_to_itself_is_the_kernels_diagonal(world: World, form: Form) -> None:
    pair = Pair(world.known, world.known, form, width(world.known))
    for view in VIEWS:
        expected = pair.whole(view).diagonal()
        torch.testing.assert_close(itself(world.known, form, view)["whole"], expected, atol=1e-4, rtol=1e-4)


def test_the_form_that_says_most_of_left_out_items_is_taken(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    def shares(removed: csr_matrix) -> tuple[Form, list[float]]:
        taken = choose(world.known, world.links, removed, BOTH, 3)
        told = capsys.readouterr().out
        return taken, [float(word.strip(",")) for word in told.split("forms ")[1].split(" per cent")[0].split()]

    taken, quality = shares(csr_matrix(world.links.shape))
    assert len(quality) == len(FORMS)
    assert FORMS.index(taken) == int(np.argmax(quality))
    # pairs that are taken out of predictions are no mistakes: where all false ones are, nothing is wrong
    linked = world.links.toarray() > 0
    assert shares(csr_matrix(~linked))[1] == [pytest.approx(100 * linked.any(1).mean(), abs=0.06)] * len(FORMS)


def test_a_kernel_that_is_not_positive_definite_gets_more_penalty(world: World) -> None:
    form = Form(0.0, 0.0, 1.0, 0.3, 0.0, (0.0, 0.0), (0.0, 0.0), 0.0, 1.0, 1e-6)
    kernel = Pair(world.known, world.known, form, 1.0).whole(BOTH)
    assert torch.linalg.eigvalsh(kernel.double()).min() < -1e-3
    assert torch.isfinite(Fit(world.known, world.links, form, BOTH).left_out()).all()


def test_a_kernel_of_no_numbers_is_refused() -> None:
    kernel = torch.eye(4)
    kernel[1, 2] = kernel[2, 1] = float("nan")
    with pytest.raises(ArtefactError, match="no finite numbers"):
        _inverse(kernel, 1e-3)


@pytest.mark.parametrize("little", [0.0, 1e-5])
def test_a_form_that_sees_nothing_ranks_labels_by_frequency(world: World, tmp_path: Path, little: float) -> None:
    """The intercept is all that is left, and what it says is each label's share of the items."""
    form = replace(FORMS[0], pictures=(0.0, 0.0), images=(little, 0.0), added=0.0)
    ridge = Fit(world.known, world.links, form, ("image",)).ridge
    save_ridge(tmp_path, ridge)
    again = load_ridge(tmp_path, world.known, ("image",), world.catalog.n_seen)
    made, saved = (one.score(one.pair(world.known)) for one in (ridge, again))
    assert torch.isfinite(saved).all()
    torch.testing.assert_close(saved, made, atol=1e-2, rtol=1e-2)
    counts = torch.from_numpy(np.asarray(world.links.sum(0)).ravel())
    share = counts * INTERCEPT / (INTERCEPT * len(world.known) + form.penalty)
    assert torch.allclose(saved, share.expand_as(saved), rtol=1e-2) == (little == 0)
