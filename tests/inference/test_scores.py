"""Candidates, fusion and predictions."""

from __future__ import annotations

import shutil

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from mufin_model.catalog.catalog import Catalog
from mufin_model.inference import fusion, predict
from mufin_model.inference.candidates import NEIGHBOUR_TEMPERATURE, join, neighbour_scores, top_of_rows
from mufin_model.inference.components import Scorer
from mufin_model.inference.predict import as_csr, choose_fusion
from mufin_model.retrieval.build_index import augmented, unit

NAMES = ("mufin", "siamese", "classifier", "neighbours", "text_only", "image_only", "zero_shot")


@pytest.fixture(scope="module")
def catalog(built) -> Catalog:
    return Catalog.load(built.noun("raw_descriptors"))


@pytest.fixture(scope="module")
def scorer(built, catalog: Catalog) -> Scorer:
    nouns = "encoder_embeddings", "pretrained_model", "anns_index", "finetuned_classifiers"
    folders = [built.noun(n) for n in nouns]
    return Scorer(catalog, *folders, built.settings.predict)


def test_where_no_component_is_left_the_siamese_score_is(built, catalog: Catalog) -> None:
    """As where a catalogue has grown beyond the ridge, and nothing but it was to be looked at."""
    nouns = "encoder_embeddings", "pretrained_model", "anns_index", "finetuned_classifiers"
    chosen = built.settings.predict.model_copy(update={"components": ["reranker", "ridge"]})
    scorer = Scorer(catalog, *(built.noun(n) for n in nouns), chosen)
    assert set(scorer(catalog.rows("test"), ["train", "val"], ["text"]).components) == {"reranker", "ridge"}
    scorer.ridge = None
    assert choose_fusion(scorer, catalog, ["text"]).weights == {"siamese": 1.0}


def test_what_was_fitted_on_an_item_does_not_judge_it(scorer: Scorer, catalog: Catalog) -> None:
    """Without the validation items in memory, scores are those of classifiers fitted without them, and of no others."""
    validation = catalog.rows("val")
    assert len(scorer(validation, ["train"], ["text"]).candidates) == len(validation)
    for others in (catalog.rows("test"), catalog.rows("train")[: len(validation)], validation[1:], validation[::-1]):
        with pytest.raises(ValueError, match="must be all of them"):
            scorer(others, ["train"], ["text"])


def test_join_is_the_union() -> None:
    rng = np.random.default_rng(0)
    shortlist = np.stack([rng.permutation(30)[:6] for _ in range(20)])
    shortlist[3, 2:], shortlist[4] = -1, -1
    near = sparse.random(20, 30, 0.1, "csr", np.float32, rng)
    near[4] = 0
    near.eliminate_zeros()
    joined = join(shortlist, near)
    for row in range(20):
        expected = set(shortlist[row][shortlist[row] >= 0]) | set(near[row].indices)
        real = joined[row][joined[row] >= 0]
        assert len(real) == len(expected)
        assert set(real) == expected
    assert joined.shape[1] == max((joined >= 0).sum(1))
    assert join(shortlist[:0], near[:0]).shape[0] == 0


def test_neighbour_scores_are_the_loop() -> None:
    rng = np.random.default_rng(0)
    links = sparse.random(12, 9, 0.3, "csr", np.float32, rng)
    links.data[:] = 1
    similarity, rows = rng.random((7, 4)).astype(np.float32), rng.integers(0, 12, (7, 4))
    rows[2, 1:], rows[5] = -1, -1
    with np.errstate(invalid="ignore"):
        found = neighbour_scores(similarity, rows, links).toarray()
    for i in range(7):
        real = rows[i] >= 0
        weight = np.exp(similarity[i][real] / NEIGHBOUR_TEMPERATURE)
        expected = sum(
            (w / weight.sum() * links[r].toarray()[0] for w, r in zip(weight, rows[i][real], strict=True)), np.zeros(9)
        )
        np.testing.assert_allclose(found[i], expected, atol=1e-5)


def test_top_of_rows_is_the_loop() -> None:
    rng = np.random.default_rng(0)
    scores = sparse.random(15, 40, 0.3, "csr", np.float32, rng)
    scores.data -= 0.5
    top = top_of_rows(scores, 5)
    for row in range(15):
        expected = sorted(scores[row].data, reverse=True)[:5]
        assert sorted(top[row].data, reverse=True) == expected
        dense = scores[row].toarray()[0]
        np.testing.assert_array_equal(dense[top[row].indices], top[row].data)
    assert top_of_rows(scores[:0], 5).shape == (0, 40)


def test_predictions_are_valid_csr_without_filter_pairs(built, catalog: Catalog) -> None:
    filters = catalog.filters("test")
    assert filters.nnz
    for name in NAMES:
        matrix = sparse.load_npz(built.noun("predictions") / f"{name}.npz")
        zero_shot = name == "zero_shot"
        assert matrix.format == "csr"
        assert matrix.dtype == np.float32
        width = catalog.n_labels - catalog.n_seen if zero_shot else catalog.n_seen
        assert matrix.shape == (len(catalog.rows("test")), width)
        matrix.check_format(full_check=True)
        assert matrix.has_canonical_format
        assert np.diff(matrix.indptr).max() <= 10
        assert np.isfinite(matrix.data).all()
        if not zero_shot:
            assert np.diff(matrix.indptr).min() == 10
            assert filters.multiply(matrix != 0).nnz == 0


def test_filter_pairs_are_removed_before_the_top(scorer: Scorer, catalog: Catalog) -> None:
    test = catalog.rows("test")
    scored = scorer(test, ["train", "val"], ("image", "text"))
    scores = np.where(scored.real, scored.components["siamese"], -np.inf)
    best = scored.candidates[np.arange(len(test)), scores.argmax(1)]
    ban = sparse.csr_matrix((np.ones(len(test), np.float32), (np.arange(len(test)), best)), (len(test), catalog.n_seen))
    kept = as_csr(scored, scores, catalog.n_seen, ban, 3)
    assert np.diff(kept.indptr).tolist() == [3] * len(test)
    assert kept.multiply(ban).nnz == 0


def test_components_are_what_they_say(scorer: Scorer, catalog: Catalog) -> None:
    test = catalog.rows("test")[:8]
    scored = scorer(test, ["train", "val"], ("image", "text"))
    queries = scorer.items[test]
    np.testing.assert_allclose(scorer.embed(test, ("image", "text")), queries, atol=1e-5)
    for row in range(len(test)):
        for place, label in enumerate(scored.candidates[row]):
            if label < 0:
                assert all(np.isneginf(part[row, place]) for part in scored.components.values())
            else:
                assert scored.components["siamese"][row, place] == pytest.approx(
                    float(queries[row] @ scorer.labels[label]), abs=1e-5
                )
    counts = catalog.label_counts()
    real = scored.real
    order = np.argsort(scored.components["frequency"][real], kind="stable")
    assert (np.diff(counts[scored.candidates[real][order]]) >= 0).all()


def test_test_links_change_no_prediction(built, catalog: Catalog, tmp_path) -> None:
    """Weights are chosen on validation items, neighbours found among training items."""
    other = built.branch(tmp_path, ("encode", "pretrain", "index", "mine", "finetune"))
    folder = other.workspace.path(other.dataset, "raw_descriptors")
    shutil.copytree(built.noun("raw_descriptors"), folder)
    links = pl.read_parquet(folder / "links.parquet")
    rng = np.random.default_rng(0)
    held = links["split"].is_in(["test", "zero_shot"])
    test = links.filter(held)
    shuffled = test.with_columns(pl.Series("label", rng.permutation(test["label"].to_numpy()), dtype=pl.UInt32))
    pl.concat([links.filter(~held), shuffled.unique(["item", "label"])]).write_parquet(folder / "links.parquet")
    assert (Catalog.load(folder).links("test") != catalog.links("test")).nnz
    other.run("predict")
    for path in built.noun("predictions").iterdir():
        assert path.read_bytes() == (other.noun("predictions") / path.name).read_bytes(), path.name


def test_validation_links_are_not_looked_up_when_weights_are_chosen(scorer: Scorer, catalog: Catalog) -> None:
    asked = []

    def spy(items, memory, modalities):
        asked.append((items.tolist(), list(memory)))
        return scorer(items, memory, modalities)

    choose_fusion(spy, catalog, ("image", "text"))  # type: ignore[arg-type]
    assert asked == [(catalog.rows("val").tolist(), ["train"])]


def test_mined_positives_are_the_training_links(built, catalog: Catalog) -> None:
    labels, scores, positive = (
        np.load(built.noun("mined_negatives") / f"{n}.npy") for n in ("labels", "scores", "positive")
    )
    truth, removed = (of("train").toarray() > 0 for of in (catalog.links, catalog.filters))
    assert labels.shape == scores.shape == positive.shape == (len(truth), 20)
    shown, at = labels >= 0, labels.clip(min=0).astype(int)
    np.testing.assert_array_equal(positive, np.take_along_axis(truth, at, 1) & shown)
    # a filter pair is no negative, and leaves its place empty
    assert not (np.take_along_axis(removed, at, 1) & shown & ~positive).any()
    assert (~shown).any()
    items = np.load(built.noun("pretrained_model") / "item_embeddings.npy")[catalog.rows("train")]
    vectors = np.load(built.noun("anns_index") / "labels.npy")[: catalog.n_seen]
    exact = items @ vectors.T
    np.testing.assert_allclose(scores, -np.sort(-exact, 1)[:, :20], atol=2e-3)
    for row, place in np.argwhere(~shown):
        assert np.abs(exact[row][removed[row]] - scores[row, place]).min() < 2e-3


def test_filter_pairs_have_no_say_in_the_fusion(
    catalog: Catalog, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    with monkeypatch.context() as patched:
        patched.setattr(predict.fusion, "choose", lambda *given: asked.append(given))
        choose_fusion(scorer, catalog, ("image", "text"))
    ((components, real, positive),) = asked
    candidates = scorer(catalog.rows("val"), ["train"], ("image", "text")).candidates
    removed = catalog.filters("val").toarray() > 0
    out = np.take_along_axis(removed, candidates.clip(min=0), 1) & (candidates >= 0)
    assert out.any()
    np.testing.assert_array_equal(real, (candidates >= 0) & ~out)
    weights = fusion.choose(components, real, positive).weights
    assert weights == fusion.choose(components, real, positive & ~out).weights
    assert weights != fusion.choose(components, real | out, positive).weights


@pytest.mark.parametrize("weights", ["mean", [1, 1, 1], [2, 0.5, 0], [0, 1, 0]], ids=str)
def test_augmented_vectors_are_the_loop(built, catalog: Catalog, weights) -> None:
    folder = built.noun("pretrained_model")
    items, labels, image, text = (
        np.load(folder / f"{n}.npy") for n in ("item_embeddings", "label_embeddings", "image", "text")
    )
    own = text[len(items) :]
    found = np.load(built.noun("anns_index") / "labels.npy")
    train, links = catalog.rows("train"), catalog.links("train").tocsc()

    def of(rows: np.ndarray) -> np.ndarray:
        """Unit rows, summed."""
        return unit(rows).sum(0)

    for modalities in (["image", "text"], ["text"], ["image"]):
        made = augmented(catalog, items, labels, image, own, modalities, weights)
        if len(modalities) == 2 and weights == built.settings.index.augment_weights:
            np.testing.assert_allclose(made, found, atol=1e-5)
        for label in range(catalog.n_labels):
            near = items[train[links[:, label].indices]] if label < catalog.n_seen else items[:0]
            alone = image[catalog.labels["images"][label].to_list() if "image" in modalities else []]
            if catalog.labels["text"][label] and "text" in modalities:
                alone = np.concatenate([alone, own[label : label + 1]])
            groups = np.stack([of(labels[label : label + 1]), of(near), of(alone)])
            expected = groups.sum(0) if weights == "mean" else np.asarray(weights) @ unit(groups)
            np.testing.assert_allclose(made[label], unit(expected[None])[0], atol=1e-4)
    assert catalog.n_labels > catalog.n_seen
