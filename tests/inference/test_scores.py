"""Candidates, fusion and predictions."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from mufin_model.catalog.catalog import Catalog
from mufin_model.errors import ArtefactError
from mufin_model.inference import fusion, predict
from mufin_model.inference.candidates import NEIGHBOUR_TEMPERATURE, join, neighbour_scores, top_of_rows
from mufin_model.inference.components import Scorer
from mufin_model.inference.fusion import LEAST, Fusion, choose
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


def components(seed: int = 0):
    rng = np.random.default_rng(seed)
    positive = rng.random((300, 20)) < 0.15
    real = rng.random((300, 20)) < 0.9
    positive &= real
    noise = {name: rng.normal(size=(300, 20)).astype(np.float32) for name in ("anchor", "noise", "other")}
    informative = (positive + 0.3 * rng.normal(size=(300, 20))).astype(np.float32) * 7 + 100
    parts = {"anchor": noise["anchor"], "noise": noise["noise"], "good": informative, "other": noise["other"]}
    return {k: np.where(real, v, -np.inf).astype(np.float32) for k, v in parts.items()}, real, positive


def test_fusion_prefers_what_informs() -> None:
    parts, real, positive = components()
    fusion = choose(parts, real, positive)
    assert fusion.weights["good"] == 1
    assert max(weight for name, weight in fusion.weights.items() if name != "good") <= 0.1
    fused = fusion(parts)
    assert np.isneginf(fused[~real]).all()
    assert np.isfinite(fused[real]).all()


def test_two_that_each_know_half_share_the_weight() -> None:
    parts, real, positive = components()
    half = np.arange(20) < 10
    rng = np.random.default_rng(1)
    knows = {"left": half, "right": ~half}
    for name, where in knows.items():
        parts[name] = np.where(real, 3.0 * (positive & where) + rng.normal(size=real.shape), -np.inf).astype(np.float32)
    chosen = choose({name: parts[name] for name in ("left", "right", "noise")}, real, positive).weights
    assert min(chosen["left"], chosen["right"]) > 0.7
    assert chosen["noise"] < 0.1


def test_few_validation_items_leave_the_first_nearly_alone() -> None:
    """What is no better by more than luck: a weight that a thousand items find to be none is small of ten, too."""
    parts, real, positive = components()
    names = ("good", "anchor", "noise", "other")
    largest = [
        max(list(choose({n: parts[n][at] for n in names}, real[at], positive[at]).weights.values())[1:])
        for at in (slice(start, start + 10) for start in range(0, 300, 10))
    ]
    assert np.mean(largest) < 0.1
    assert max(largest) < 0.5


def test_items_without_a_positive_change_no_weight() -> None:
    parts, real, positive = components()
    few = {name: part[:10] for name, part in parts.items()}
    # the same scores over and over, so that what is standardised by stays as it is
    more = {name: np.tile(part, (50, 1)) for name, part in few.items()}
    silent = np.concatenate([positive[:10], np.zeros((490, 20), bool)])
    one, other = choose(few, real[:10], positive[:10]), choose(more, np.tile(real[:10], (50, 1)), silent)
    for name, weight in one.weights.items():
        assert other.weights[name] == pytest.approx(weight, abs=1e-3), name


def test_a_score_that_is_no_number_is_told_by_name() -> None:
    parts, real, positive = components()
    parts["noise"][tuple(np.argwhere(real)[0])] = np.nan
    with pytest.raises(ArtefactError, match="'noise' are no finite numbers"):
        choose(parts, real, positive)


def test_fusion_of_constants_and_of_nothing() -> None:
    parts, real, positive = components()
    parts["flat"] = np.where(real, np.float32(3.3), -np.inf).astype(np.float32)
    fusion = choose(parts, real, positive)
    assert fusion.weights["flat"] < 1e-6
    assert np.isfinite(fusion(parts)[real]).all()
    empty = {k: v[:0] for k, v in parts.items()}
    unlinked = choose(parts, real, np.zeros_like(positive))
    for alone in (choose(empty, real[:0], positive[:0]), unlinked):
        assert alone.weights == dict.fromkeys(parts, 1.0)
        assert np.isfinite(alone(parts)[real]).all()
        json.dumps(dataclasses.asdict(alone), allow_nan=False)


def test_where_nothing_informs_what_is_right_by_construction_is_left() -> None:
    """The closed form, or else the neighbours, or else all alike."""
    parts, real, positive = components()
    against = np.where(real, -parts["good"], -np.inf)
    for names, said in (
        (("siamese", "neighbours", "ridge"), {"ridge"}),
        (("siamese", "neighbours"), {"neighbours"}),
        (("wrong", "worse"), {"wrong", "worse"}),
    ):
        found = choose(dict.fromkeys(names, against), real, positive).weights
        assert found == {name: float(name in said) for name in names}


def test_a_handful_of_validation_items_decides_nothing() -> None:
    """One fewer than the least: the part that they praise gets no weight; with as many as the least it does."""
    parts, real, positive = components()
    named = {"ridge": np.where(real, -parts["good"], -np.inf), "good": parts["good"]}
    told = np.flatnonzero((positive & real).any(1))
    for count in (LEAST - 1, LEAST):
        few = np.zeros_like(positive)
        few[told[:count]] = positive[told[:count]]
        assert (choose(named, real, few).weights["good"] > 0) == (count == LEAST)


def test_a_weight_of_zero_leaves_a_part_out() -> None:
    fusion = Fusion({"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 0.0}, {"a": 2.0, "b": 1.0})
    np.testing.assert_array_equal(fusion({"a": np.array([[4.0]]), "b": np.array([[np.nan]])}), [[2.0]])


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
