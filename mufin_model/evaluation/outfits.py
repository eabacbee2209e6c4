r"""Outfits: filling a blank, and telling those that go together from those thrown together.

The score of two products is the mean of both directions' cosines, s(a, b) = (x_a . z_b + x_b . z_a) / 2, with x a
product's embedding as an item and z its embedding as a label, both from Module I. Then, as Vasileva et al. (ECCV 2018):

    FITB   share of questions whose right answer has the highest sum of scores with the products asked
    AUC    area under the ROC curve of the mean score over an outfit's pairs

Answers that share the highest score share the right one's credit, so that a score that knows nothing gets what chance
gets. `popularity` scores a product by its training and validation items; `random` is what chance gives in the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from mufin_model.arrays import read_array
from mufin_model.catalog import outfits
from mufin_model.catalog.catalog import Catalog

NAMES = {"random": "chance", "popularity": "popularity", "mufin": "MUFIN, siamese score"}
"""Methods in the order of the table, with their names for people."""
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Score = Callable[[Rows, Rows], Floats]
"""Of pairs of item rows, [P] and [P]: [P] scores."""

PAIRS = 65_536
"""Pairs scored at once."""


def judge(catalog: Catalog, pretrained: Path) -> dict[str, dict[str, float]]:
    """The catalogue's questions answered.

    Args:
        catalog: whose items are labels too.
        pretrained: pretrained_model, with the embeddings of both.

    Returns:
        `FITB` and `AUC` (fractions; where there are such questions) of `random`, `popularity` and `mufin`, and the
        numbers of questions as `counts`; empty where the catalogue brings none.

    Raises:
        ArtefactError: a file is missing or damaged.
    """
    asked = outfits.read(catalog.folder)
    if asked is None:
        return {}
    place = pl.DataFrame({"id": catalog.labels["id"], "row": np.arange(catalog.n_labels)})
    label = catalog.items.select("id").join(place, on="id", how="left", maintain_order="left")["row"].to_numpy()
    linked = np.concatenate([catalog.links(split).indices for split in ("train", "val")])
    counts = np.bincount(linked, minlength=catalog.n_labels).astype(np.float64)[label]
    items, labels = (read_array(pretrained / f"{name}_embeddings.npy") for name in ("item", "label"))

    def cosine(one: Rows, other: Rows) -> Floats:
        return (_dots(items, labels, one, label[other]) + _dots(items, labels, other, label[one])) / 2

    scores: dict[str, Score] = {"popularity": lambda one, other: (counts[one] + counts[other]) / 2, "mufin": cosine}
    blank, whole = asked.fill_in_blank, asked.compatibility
    told: dict[str, dict[str, float]] = {"random": {}, **{name: {} for name in scores}}
    if blank.height:
        told["random"]["FITB"] = float((1 / blank["answers"].list.len().to_numpy()).mean())
        for name, score in scores.items():
            told[name]["FITB"] = fill_in_blank(blank, score)
    if whole["compatible"].n_unique() == 2:
        told["random"]["AUC"] = 0.5
        for name, score in scores.items():
            told[name]["AUC"] = compatibility(whole, score)
    return told | {"counts": {"fill_in_blank": blank.height, "compatibility": whole.height}}


def rows(judged: Mapping[str, Mapping[str, float]]) -> list[tuple[str, Mapping[str, float]]]:
    """The methods of `judge`, with their names for people."""
    return [(name, judged[key]) for key, name in NAMES.items()]


def fill_in_blank(questions: pl.DataFrame, score: Score) -> float:
    """Accuracy.

    Args:
        questions: question list[u32], answers list[u32], right u32, at least one row.
        score: of pairs of item rows.
    """
    asked = questions.with_row_index("number").with_columns(place=pl.int_ranges(pl.col("answers").list.len()))
    flat = asked.explode("answers", "place").explode("question")
    flat = flat.with_columns(pl.Series("score", score(_rows(flat["question"]), _rows(flat["answers"]))))
    best = (
        flat.group_by("number", "place", maintain_order=True)
        .agg(pl.col("score").sum(), pl.col("right").first())
        # sums of the same scores in another order differ in their last digits
        .with_columns(pl.col("score").round(9))
        .filter(pl.col("score") == pl.col("score").max().over("number"))
        .group_by("number")
        .agg((pl.col("place") == pl.col("right")).mean().alias("credit"))
    )
    return float(best["credit"].sum() / questions.height)


def compatibility(questions: pl.DataFrame, score: Score) -> float:
    """Area under the ROC curve; equal scores count half.

    Args:
        questions: outfit list[u32] of two products or more, compatible bool, both kinds among them.
        score: of pairs of item rows.
    """
    from scipy.stats import rankdata

    flat = questions.with_row_index("number").with_columns(place=pl.int_ranges(pl.col("outfit").list.len()))
    flat = flat.explode("outfit", "place").select("number", "place", "outfit")
    pairs = flat.join(flat, on="number", maintain_order="left_right").filter(pl.col("place") < pl.col("place_right"))
    pairs = pairs.with_columns(pl.Series("score", score(_rows(pairs["outfit"]), _rows(pairs["outfit_right"]))))
    means = pairs.group_by("number", maintain_order=True).agg(pl.col("score").mean())["score"].round(9)
    ranks = rankdata(means.to_numpy())
    positive = questions["compatible"].to_numpy()
    n, m = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def _rows(column: pl.Series) -> Rows:
    return column.to_numpy().astype(np.int64)


def _dots(items: npt.NDArray[np.float32], labels: npt.NDArray[np.float32], one: Rows, other: Rows) -> Floats:
    """[P] products of rows `one` of items [N, D] with rows `other` of labels [L, D]."""
    out = np.empty(len(one))
    for start in range(0, len(one), PAIRS):
        part = slice(start, start + PAIRS)
        out[part] = np.einsum("pd,pd->p", items[one[part]], labels[other[part]])
    return out
