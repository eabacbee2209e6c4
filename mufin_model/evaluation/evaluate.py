"""The stage `evaluate`: eval_report from predictions.

metrics.json     {"mufin": {"P@1": ...}, "popularity": {...}, ...} fractions, over all test items (`items`); where links
                 have weights, metrics that count them too (`weighted.py`); with
                 `intervals`, `buckets`, `zero_shot`, and `outfits` where the catalogue brings questions about them;
                 `card` has the figures of the model card, over the test items by which the gate does not decide
report.html      the same and more for people, in one file that needs no network
plots/           loss_pretrain.csv, loss_finetune.csv, methods.csv, buckets.csv, for `dvc plots show`
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_matrix, vstack

from mufin_model.arrays import read_sparse
from mufin_model.artefacts import Workspace, read_json, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.gate_items import gate_items
from mufin_model.catalog.propensity import inverse_propensity
from mufin_model.config import Settings
from mufin_model.errors import ArtefactError, in_words
from mufin_model.evaluation import baselines, gallery, outfits, report, table
from mufin_model.evaluation.buckets import Bucket, bucket_metrics, buckets
from mufin_model.evaluation.metrics import RowMetrics, evaluate_scores, row_metrics, without
from mufin_model.evaluation.weighted import weighted_metrics
from mufin_model.progress import say

OURS = ("text_only", "image_only", "siamese", "classifier", "head", "neighbours", "ridge", "reranker", "mufin")
"""Files of predictions, each a row of the table; a component that is not in use has none."""

RESAMPLES = 10_000
"""Of the paired bootstrap."""

DIGITS = 6
"""Decimals kept in metrics.json: far below any real difference, above floating-point noise between machines."""

CURVES = {"loss_pretrain": "pretrained_model", "loss_finetune": "finetuned_classifiers"}


def run(workspace: Workspace, dataset: str, settings: Settings) -> None:
    """Write eval_report.

    Raises:
        ArtefactError: an earlier artefact is missing, or predictions do not fit the catalogue.
    """
    chosen = settings.evaluate
    catalog = Catalog.load(workspace.read(dataset, "raw_descriptors"))
    predictions = workspace.read(dataset, "predictions")
    filters = catalog.filters("test")
    truth = without(catalog.links("test"), filters)
    # a filtered pair is no candidate: every row keeps enough beyond them for the deepest metric
    depth = max(*chosen.ks, *chosen.recall_ks) + int(np.diff(filters.indptr).max(initial=0))
    scores, skipped = baselines.fit_all(catalog, depth, settings.seed, workspace.read(dataset, "encoder_embeddings"))
    scores |= {name: _load(predictions / f"{name}.npz", truth.shape) for name in OURS if _used(predictions, name)}
    scores = {name: without(matrix, filters) for name, matrix in scores.items()}
    # the catalogue's own training links, held-out ones included, so that figures compare across validation fractions
    links = vstack([catalog.links("train"), catalog.links("val")], format="csr")
    counts = np.bincount(links.indices, minlength=catalog.n_seen)
    inverse = inverse_propensity(counts, links.shape[0], chosen.propensity_a, chosen.propensity_b)
    by_row = {name: row_metrics(matrix, truth, inverse, chosen.ks, chosen.recall_ks) for name, matrix in scores.items()}
    if catalog.has_weights:
        weights = without(catalog.weighted("test"), filters)
        by_row = {
            name: rows.beside(weighted_metrics(scores[name], weights, chosen.ks, chosen.recall_ks))
            for name, rows in by_row.items()
        }
    groups = buckets(counts, truth)
    metrics: dict[str, Any] = {
        **{name: _rounded(rows.mean()) for name, rows in by_row.items()},
        "intervals": {
            name: interval(by_row["mufin"], rows, settings.seed) for name, rows in by_row.items() if name != "mufin"
        },
        "buckets": {
            name: {group: _rounded(told) for group, told in bucket_metrics(matrix, truth, groups).items()}
            for name, matrix in scores.items()
            if name in report.COMPARED
        },
        "zero_shot": zero_shot(catalog, predictions),
        "items": truth.shape[0],
        "same_for_all": same_for_all(catalog),
        "card": card_figures(by_row, scores["mufin"], truth, groups, ~gate_items(catalog, chosen.gate_share)),
    }
    if judged := outfits.judge(catalog, workspace.read(dataset, "pretrained_model")):
        metrics["outfits"] = {name: _rounded(figures) for name, figures in judged.items()}
    curves = {name: _curve(workspace.read(dataset, noun) / "loss.csv") for name, noun in CURVES.items()}
    first = by_row["mufin"].column(_first(chosen.ks)) > 0
    rows = gallery.choose(first, np.diff(truth.indptr) > 0, chosen.gallery, settings.seed)
    with workspace.write(dataset, "eval_report") as folder:
        write_json(folder / "metrics.json", metrics)
        _plots(folder / "plots", metrics, groups, curves, workspace, dataset)
        page = report.render(
            report.Contents(
                dataset=dataset,
                metrics=metrics,
                skipped=skipped,
                groups=groups,
                curves=curves,
                fusion=read_json(predictions / "fusion.json"),
                summary=read_json(catalog.folder / "summary.json"),
                cards=gallery.cards(catalog, scores["mufin"], truth, rows),
                n_test=truth.shape[0],
                first=_first(chosen.ks),
            )
        )
        (folder / "report.html").write_text(page, encoding="utf-8")
    for modality in metrics["same_for_all"]:
        say(f"{report.SAME[modality]}: it tells no item from another and counts for nothing")
    table.show(table.in_order(metrics), f"{dataset}: {truth.shape[0]:,} test items, per cent")
    if judged:
        table.show(outfits.rows(judged), f"{dataset}: questions about outfits, per cent", ("FITB", "AUC"))


def interval(ours: RowMetrics, other: RowMetrics, seed: int) -> dict[str, float]:
    """How far MUFIN is ahead in P at the smallest k, with a 95 % interval by paired bootstrap over the test items.

    Items with the same difference are alike to a resample, so each resample is one multinomial draw
    over the distinct differences: the same distribution as drawing items one by one.

    Returns:
        `difference`, `low` and `high`, fractions.
    """
    name = _first([int(n.removeprefix("P@")) for n in ours.names if n.startswith("P@")])
    gaps, counts = np.unique(np.round(ours.column(name) - other.column(name), 9), return_counts=True)
    n = counts.sum()
    if n == 0:
        return {"difference": 0.0, "low": 0.0, "high": 0.0}
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=RESAMPLES) @ gaps / n
    low, high = np.quantile(draws, [0.025, 0.975])
    return _rounded({"difference": float(counts @ gaps / n), "low": float(low), "high": float(high)})


def card_figures(
    by_row: Mapping[str, RowMetrics],
    ours: csr_matrix,
    truth: csr_matrix,
    groups: list[Bucket],
    shown: npt.NDArray[np.bool_],
) -> dict[str, Any]:
    """What the model card tells: `items`, `methods` (each one's metrics) and `buckets` (ours) over these test items.

    Args:
        by_row: metrics of each test item, by method.
        ours: CSR [n_test, L] fused scores; truth: true links, the same shape.
        groups: the frequency buckets.
        shown: True where the gate does not decide by a test item, bool [n_test].
    """
    return {
        "items": int(shown.sum()),
        "methods": {name: _rounded(rows.at(shown).mean()) for name, rows in by_row.items()},
        "buckets": {name: _rounded(told) for name, told in bucket_metrics(ours[shown], truth[shown], groups).items()},
    }


def same_for_all(catalog: Catalog) -> list[str]:
    """Modalities that tell no item from another: `text`, `image`. One that no item has is not among them."""
    texts, images = catalog.items["text"].unique(), catalog.items["images"].unique()
    found = ["text"] if len(texts) == 1 and texts[0] else []
    return found + (["image"] if len(images) == 1 and len(images[0]) else [])


def _used(predictions: Path, name: str) -> bool:
    return name == "mufin" or (predictions / f"{name}.npz").is_file()


def zero_shot(catalog: Catalog, predictions: Path) -> dict[str, float]:
    """Recall of labels never seen in training, by their own descriptors; over the test items that have such labels.

    Returns:
        `R@10`, `P@1`, `chance R@10`, and the `items` and `labels` it is over; empty without zero-shot links.
    """
    truth = catalog.links("zero_shot")
    having = np.flatnonzero(np.diff(truth.indptr))
    if not len(having):
        return {}
    scores = _load(predictions / "zero_shot.npz", truth.shape)
    told = evaluate_scores(scores[having], truth[having], np.ones(truth.shape[1]), [1], [10])
    return {
        **_rounded({"P@1": told["P@1"], "R@10": told["R@10"], "chance R@10": min(1.0, 10 / truth.shape[1])}),
        "items": len(having),
        "labels": truth.shape[1],
    }


def _first(ks: list[int]) -> str:
    """The headline metric: P at the smallest k, P@1 by default."""
    return f"P@{min(ks)}"


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, DIGITS) for name, value in figures.items()}


def _load(path: Path, shape: tuple[int, int]) -> csr_matrix:
    matrix = read_sparse(path)
    if matrix.shape != shape:
        raise ArtefactError(
            f"scores of {matrix.shape[0]:,} items x {matrix.shape[1]:,} labels,"
            f" but the catalogue has {shape[0]:,} x {shape[1]:,}",
            where=str(path),
            mend="mufin predict writes it",
        )
    return matrix


def _curve(path: Path) -> pl.DataFrame:
    try:
        return pl.read_csv(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ArtefactError(
            f"cannot read the loss curve: {in_words(error)}", where=str(path), mend="train again"
        ) from error


def _plots(
    folder: Path,
    metrics: dict[str, Any],
    groups: list[Bucket],
    curves: dict[str, pl.DataFrame],
    workspace: Workspace,
    dataset: str,
) -> None:
    folder.mkdir()
    for name in curves:
        shutil.copyfile(workspace.path(dataset, CURVES[name]) / "loss.csv", folder / f"{name}.csv")
    methods = [
        {"method": label, **{metric.replace("@", "_at_"): value for metric, value in figures.items()}}
        for label, figures in table.in_order(metrics)
    ]
    pl.DataFrame(methods).write_csv(folder / "methods.csv")
    recalls = metrics["buckets"]["mufin"]
    pl.DataFrame(
        {
            "bucket": [group.name for group in groups],
            "recall_at_10": [recalls[group.name]["recall_10"] for group in groups],
        },
        schema={"bucket": pl.String, "recall_at_10": pl.Float64},
    ).write_csv(folder / "buckets.csv")
