"""The stage evaluate: what the report and metrics.json hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix, load_npz, save_npz

from mufin_model.artefacts import Workspace
from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.propensity import inverse_propensity
from mufin_model.config import Settings
from mufin_model.errors import ArtefactError
from mufin_model.evaluation import charts, evaluate, gallery, table
from mufin_model.evaluation.metrics import RowMetrics, evaluate_scores, without

from .conftest import DATASET, EVIL, make


@pytest.fixture
def folder(workspace: Workspace, settings: Settings, capsys: pytest.CaptureFixture[str]) -> Path:
    evaluate.run(workspace, DATASET, settings)
    assert "MUFIN, text only" in capsys.readouterr().out
    return workspace.path(DATASET, "eval_report")


def test_the_page_needs_no_network_and_escapes_what_the_data_say(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert not re.search(r"(?:src|href)\s*=\s*(?![\"']?data:)", page)
    assert not re.search(r"https?://|@import|url\(", page)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count('<article class="item">') == 10
    assert 'src="data:image/png;base64,' in page or 'src="data:image/jpeg;base64,' in page
    assert page.count("<svg") == 5


def test_metrics_are_those_of_the_predictions_less_the_filtered_pairs(folder: Path, catalog: Catalog) -> None:
    told = json.loads((folder / "metrics.json").read_text())
    assert {"mufin", "popularity", "tfidf_knn", "tfidf_one_vs_all", "image_knn"} < told.keys()
    counts = np.asarray(catalog.links("train").sum(0) + catalog.links("val").sum(0)).ravel()
    inverse = inverse_propensity(counts, 60)
    filters, scores = catalog.filters("test"), load_npz(folder.parent / "predictions" / "mufin.npz").tocsr()
    assert filters.nnz == 2
    wanted = evaluate_scores(without(scores, filters), without(catalog.links("test"), filters), inverse)
    assert told["mufin"] == pytest.approx(wanted, abs=1e-6)
    parts = [bucket["part_of_P_5"] for bucket in told["buckets"]["mufin"].values()]
    assert sum(parts) == pytest.approx(told["mufin"]["P@5"], abs=1e-5)
    assert told["zero_shot"] == {"P@1": 1, "R@10": 1, "chance R@10": 1, "items": 2, "labels": 2}
    gap = told["intervals"]["popularity"]
    assert gap["low"] <= gap["difference"] <= gap["high"]
    assert gap["difference"] == pytest.approx(told["mufin"]["P@1"] - told["popularity"]["P@1"], abs=1e-6)


def test_plots_have_a_row_a_method_and_an_epoch(folder: Path) -> None:
    methods = pl.read_csv(folder / "plots" / "methods.csv")
    assert methods["method"].to_list()[-1] == "MUFIN"
    assert "P_at_1" in methods.columns
    assert pl.read_csv(folder / "plots" / "loss_pretrain.csv").height == 3
    assert pl.read_csv(folder / "plots" / "buckets.csv").columns == ["bucket", "recall_at_10"]


def test_equal_input_gives_equal_bytes(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, settings: Settings
) -> None:
    again = make(tmp_path_factory.mktemp("again"), settings)
    evaluate.run(again, DATASET, settings)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert len(files) == 6
    for path in files:
        twin = again.path(DATASET, "eval_report") / path.relative_to(folder)
        assert path.read_bytes() == twin.read_bytes(), path.name


def test_predictions_of_another_catalogue_are_refused(workspace: Workspace, settings: Settings) -> None:
    save_npz(workspace.path(DATASET, "predictions") / "mufin.npz", csr_matrix((3, 4), dtype=np.float32))
    with pytest.raises(ArtefactError, match="3 items x 4 labels"):
        evaluate.run(workspace, DATASET, settings)
    assert not workspace.path(DATASET, "eval_report").exists()


def test_the_interval_is_the_bootstrap_of_the_items() -> None:
    rng = np.random.default_rng(3)
    ours, other = rng.random((2, 400, 1)) < [[[0.6]], [[0.4]]]
    rows = [RowMetrics(("P@1",), hits.astype(float), np.zeros((400, 1))) for hits in (ours, other)]
    got = evaluate.interval(*rows, seed=0)
    gaps = (ours.astype(float) - other)[:, 0]
    means = gaps[rng.integers(0, 400, (10_000, 400))].mean(axis=1)
    assert got["low"] == pytest.approx(np.quantile(means, 0.025), abs=0.006)
    assert got["high"] == pytest.approx(np.quantile(means, 0.975), abs=0.006)


def test_the_gallery_mixes_right_and_wrong() -> None:
    right = np.arange(100) % 3 == 0
    rows = gallery.choose(right, np.arange(100) > 4, 20, 7)
    assert len(set(rows.tolist())) == 20
    assert right[rows].sum() == 10
    assert rows.min() > 4
    assert len(gallery.choose(np.ones(5, bool), np.ones(5, bool), 20, 7)) == 5
    assert (
        gallery.choose(right, np.ones(100, bool), 20, 7).tolist()
        == gallery.choose(right, np.ones(100, bool), 20, 7).tolist()
    )


def test_charts_of_little_data() -> None:
    assert charts.lines([], {"loss": []}, "epoch") == ""
    assert charts.lines([0.0], {"loss": [float("nan")]}, "epoch") == ""
    assert "circle" in charts.lines([0.0], {EVIL: [0.3]}, "epoch")
    assert "<script" not in charts.bars([EVIL], {EVIL: [0.0]})


def test_tables() -> None:
    rows = table.in_order({"mufin": {"P@1": 0.5, "x": 1}, "popularity": {"P@1": 0.25}, "buckets": {}})
    assert [name for name, _ in rows] == ["popularity", "MUFIN"]
    assert table.plain(rows).splitlines()[1] == "popularity  25.00"
    assert table.markdown(rows).splitlines() == [
        "| | P@1 |",
        "|---|---:|",
        "| popularity | 25.00 |",
        "| **MUFIN** | **50.00** |",
    ]


def test_a_chart_marks_the_epoch_that_was_kept() -> None:
    from mufin_model.evaluation import charts

    plain, marked = (charts.lines([1.0, 2.0, 3.0], {"loss": [3.0, 2.0, 1.0]}, "epoch", mark=m) for m in (None, 2.0))
    assert 'class="mark"' not in plain
    assert '<line class="mark" x1="226.0" x2="226.0"' in marked
    assert "epoch 2" in marked
