"""Links with a weight: in the metrics, in what is drawn for training, in what neighbours vote for."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix
from sklearn.metrics import ndcg_score

from mufin_model.artefacts import read_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.errors import ArtefactError
from mufin_model.evaluation import baselines
from mufin_model.evaluation.weighted import weighted_metrics
from mufin_model.training.positives import Positives
from tests.conftest import Small


@pytest.fixture
def weigh(built: Small, tmp_path: Path):
    """The small catalogue with a weight for each link, made by an expression of the links' columns."""

    def make(weight: pl.Expr) -> Catalog:
        folder = tmp_path / "catalog"
        shutil.copytree(built.noun("raw_descriptors"), folder, dirs_exist_ok=True)
        links = pl.read_parquet(built.noun("raw_descriptors") / "links.parquet")
        links.with_columns(weight=weight.cast(pl.Float32)).write_parquet(folder / "links.parquet")
        return Catalog.load(folder)

    return make


def test_ndcg_is_scikit_learns_with_the_weights_as_gains() -> None:
    rng = np.random.default_rng(4)
    truth = np.where(rng.random((50, 12)) < 0.3, rng.integers(1, 9, (50, 12)), 0).astype(np.float32)
    truth[:, 0] = 2.0
    scores = rng.random((50, 12))
    found = weighted_metrics(csr_matrix(scores), csr_matrix(truth), (1, 5), (3,))
    for k in (1, 5):
        expected = [ndcg_score(truth[[row]], scores[[row]], k=k) for row in range(50)]
        np.testing.assert_allclose(found.column(f"wnDCG@{k}"), expected, rtol=1e-9)
    top = np.argsort(-scores, 1)[:, :3]
    recall = np.take_along_axis(truth, top, 1).sum(1) / truth.sum(1)
    np.testing.assert_allclose(found.column("wR@3"), recall, rtol=1e-6)


def test_a_link_that_was_not_retrieved_and_an_item_without_links_count_as_nothing() -> None:
    scores, weights = csr_matrix([[0, 0.5, 0.0], [0.5, 0, 0]]), csr_matrix([[3.0, 1.0, 0], [0, 0, 0]])
    found = weighted_metrics(scores, weights, (1,), (2,))
    assert found.column("wnDCG@1").tolist() == pytest.approx([1 / 3, 0])
    assert found.column("wR@2").tolist() == pytest.approx([1 / 4, 0])


def test_weights_are_shares_of_the_items_heaviest_link(weigh, built: Small) -> None:
    catalog = weigh(pl.col("label") + 1)
    links, weighted = catalog.links("train"), catalog.weighted("train")
    np.testing.assert_array_equal(links.indices, weighted.indices)
    np.testing.assert_array_equal(links.indptr, weighted.indptr)
    for row in range(links.shape[0]):
        part = slice(links.indptr[row], links.indptr[row + 1])
        labels = links.indices[part] + 1
        np.testing.assert_allclose(weighted.data[part], labels / labels.max() if len(labels) else [], rtol=1e-6)
    assert catalog.has_weights
    plain = Catalog.load(built.noun("raw_descriptors"))
    assert not plain.has_weights
    assert (plain.weighted("test") != plain.links("test")).nnz == 0


@pytest.mark.parametrize("weight", [pl.lit(0.0), pl.lit(-1.0), pl.lit(float("nan")), pl.lit(None)])
def test_a_weight_that_is_none_is_an_error(weigh, weight: pl.Expr) -> None:
    with pytest.raises(ArtefactError, match="no number above zero"):
        weigh(weight).weighted("train")


def test_heavier_links_are_drawn_more_often() -> None:
    links = csr_matrix(np.array([[1.0, 0.25, 0]], np.float32))
    drawn = Positives(links, balanced=False).draw(np.zeros(4000, np.int64), np.random.default_rng(1))
    assert (drawn == 0).mean() == pytest.approx(0.8, abs=0.03)
    same = csr_matrix(np.array([[1.0, 1.0, 0]], np.float32))
    assert Positives(same, balanced=False).mass is None


def test_popularity_counts_by_weight(weigh) -> None:
    catalog = weigh(pl.when(pl.col("label") == 3).then(1000.0).otherwise(1.0))
    scores, _ = baselines.fit_all(catalog, 5, 1)
    rows = np.concatenate([catalog.weighted(split).toarray() for split in ("train", "val")])
    assert scores["popularity"][0].toarray().argmax() == rows.sum(0).argmax()
    assert scores["popularity"][0].max() == pytest.approx(rows.mean(0).max(), rel=1e-5)


def test_the_report_has_metrics_by_weight_where_links_have_weights(weigh, built: Small, tmp_path: Path) -> None:
    catalog = weigh(pl.col("label") + 1)
    small = built.branch(tmp_path / "w", ("encode", "pretrain", "index", "mine", "finetune", "predict"))
    small.workspace.path(small.dataset, "raw_descriptors").symlink_to(catalog.folder)
    small.run("evaluate")
    told = read_json(small.noun("eval_report") / "metrics.json")
    assert {"wnDCG@5", "wR@10"} <= told["mufin"].keys() <= told["popularity"].keys() | told["mufin"].keys()
    assert "wnDCG@5" in (small.noun("eval_report") / "report.html").read_text()
