"""Fill-in-the-blank and compatibility, against plain computations and through the stage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from mufin_dagster.quality import eval_report
from mufin_dagster.quality.frames import Source
from mufin_model.artefacts import Workspace
from mufin_model.catalog import ingest
from mufin_model.catalog.catalog import Catalog
from mufin_model.config import Settings
from mufin_model.evaluation import evaluate, outfits
from tests.catalog.samples import polyvore as sample

from .conftest import DATASET, make

ROWS = pl.List(pl.UInt32)


def plain(matrix: np.ndarray) -> outfits.Score:
    return lambda one, other: matrix[one, other]


def draw(rng: np.random.Generator, n: int) -> np.ndarray:
    matrix = rng.integers(0, 4, (n, n)).astype(float)  # so few values that some sums are equal
    return (matrix + matrix.T) / 2


def test_fill_in_blank_against_loops() -> None:
    rng = np.random.default_rng(1)
    matrix = draw(rng, 12)
    asked = [(rng.choice(12, rng.integers(1, 5)).tolist(), rng.choice(12, 4).tolist(), n % 4) for n in range(60)]
    credit = []
    for question, answers, right in asked:
        sums = np.array([sum(matrix[q, a] for q in question) for a in answers])
        credit.append((sums[right] == sums.max()) / (sums == sums.max()).sum())
    table = pl.DataFrame(asked, {"question": ROWS, "answers": ROWS, "right": pl.UInt32}, orient="row")
    assert outfits.fill_in_blank(table, plain(matrix)) == pytest.approx(np.mean(credit))
    # A score that knows nothing gets what chance gives, wherever the right answers stand.
    assert outfits.fill_in_blank(table, plain(np.zeros((12, 12)))) == pytest.approx(0.25)


def test_compatibility_against_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    matrix = draw(rng, 12)
    asked = [(rng.choice(12, rng.integers(2, 6)).tolist(), bool(n % 3)) for n in range(50)]
    means = [np.mean([matrix[a, b] for place, a in enumerate(whole) for b in whole[place + 1 :]]) for whole, _ in asked]
    table = pl.DataFrame(asked, {"outfit": ROWS, "compatible": pl.Boolean}, orient="row")
    wanted = roc_auc_score([truth for _, truth in asked], np.round(means, 9))
    assert outfits.compatibility(table, plain(matrix)) == pytest.approx(wanted)
    assert outfits.compatibility(table, plain(np.zeros((12, 12)))) == 0.5


@pytest.fixture
def polyvore(tmp_path: Path, settings: Settings) -> tuple[Catalog, Path]:
    """The sample ingested, and embeddings by which each product is at its own outfit's place."""
    workspace = Workspace(tmp_path)
    made = sample.Outfits()
    sample.write(workspace.catalog(DATASET), made)
    ingest.run(workspace, DATASET, settings)
    catalog = Catalog.load(workspace.read(DATASET, "raw_descriptors"))
    pretrained = tmp_path / "pretrained"
    pretrained.mkdir()
    places = {"500": 0, "143": 0, "520": 1, "530": 2, "540": 2, "510": 2}
    vectors = np.eye(3, dtype=np.float32)[[places.get(product, 1) for product in catalog.items["id"]]]
    for name in ("item", "label"):
        np.save(pretrained / f"{name}_embeddings.npy", vectors)
    return catalog, pretrained


def test_judge_the_sample(polyvore: tuple[Catalog, Path]) -> None:
    catalog, pretrained = polyvore
    told = outfits.judge(catalog, pretrained)
    # First question: 500 and 143 are at 0, and none of the answers is: all four share the credit. Second: 540 and 510
    # are at 2, as is the right answer 530 alone.
    assert told["mufin"]["FITB"] == pytest.approx((0.25 + 1) / 2)
    # Means of pairs: 1/3 (compatible), 0, 1 (compatible), 1.
    assert told["mufin"]["AUC"] == pytest.approx((1 + 0 + 1 + 0.5) / 4)
    assert told["random"] == {"FITB": 0.25, "AUC": 0.5}
    assert told["counts"] == {"fill_in_blank": 2, "compatibility": 4}
    # 143 is in the first question's outfit and among the second's answers, with training items where others have none.
    assert told["popularity"]["FITB"] == pytest.approx((0.25 + 0) / 2)


def test_no_questions(catalog: Catalog, tmp_path: Path) -> None:
    assert outfits.judge(catalog, tmp_path) == {}


def test_one_kind_alone(polyvore: tuple[Catalog, Path]) -> None:
    catalog, pretrained = polyvore
    file = catalog.folder / "compatibility.parquet"
    pl.read_parquet(file).filter("compatible").write_parquet(file)
    assert outfits.judge(catalog, pretrained)["mufin"].keys() == {"FITB"}


def test_the_report_shows_them(tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """The stage, on a catalogue whose items are named as its labels are."""
    workspace = make(tmp_path, settings)
    raw, pretrained = (workspace.path(DATASET, noun) for noun in ("raw_descriptors", "pretrained_model"))
    catalog = Catalog.load(raw)
    names = catalog.labels["id"].to_list()
    twins = pl.Series([names[row % len(names)] for row in range(catalog.items.height)])
    catalog.items.with_columns(id=twins).write_parquet(raw / "items.parquet")
    asked = {"question": [[0]], "answers": [[1, 2]], "right": [0]}
    pl.DataFrame(asked, {"question": ROWS, "answers": ROWS, "right": pl.UInt32}).write_parquet(
        raw / "fill_in_blank.parquet"
    )
    judged = {"outfit": [[0, 1], [0, 2]], "compatible": [True, False]}
    pl.DataFrame(judged, {"outfit": ROWS, "compatible": pl.Boolean}).write_parquet(raw / "compatibility.parquet")
    rng = np.random.default_rng(0)
    for name, height in (("item", catalog.items.height), ("label", catalog.n_labels)):
        np.save(pretrained / f"{name}_embeddings.npy", rng.normal(size=(height, 4)).astype(np.float32))
    evaluate.run(workspace, DATASET, settings)
    folder = workspace.path(DATASET, "eval_report")
    told = json.loads((folder / "metrics.json").read_text())["outfits"]
    assert told["random"] == {"FITB": 0.5, "AUC": 0.5}
    assert told["mufin"]["AUC"] in (0, 1)
    page = (folder / "report.html").read_text()
    assert "<h2>Outfits</h2>" in page
    assert "<td>MUFIN, siamese score</td>" in page
    assert "questions about outfits" in capsys.readouterr().out
    rows = eval_report.metrics(Source(workspace, DATASET)).filter(pl.col("of").str.starts_with("outfits"))
    assert rows.height == 6
    assert rows["value"].is_between(0, 1).all()
