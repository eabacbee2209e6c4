"""Metrics by how often a label occurs in training: does the model serve the tail or only the head?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from mufin_model.evaluation.metrics import true_ranks

EDGES = (1, 3, 6, 11, 51)
"""Lowest training count of each bucket: 1-2, 3-5, 6-10, 11-50, more than 50."""


@dataclass(frozen=True)
class Bucket:
    """One bucket: its name, which labels are in it, and how many true links they have in the test set."""

    name: str
    labels: npt.NDArray[np.bool_]
    links: int


FEW_LINKS = 30
"""True links below which a bucket's recall says nothing: its 95 % interval is 18 points to either side and more."""


def enough(figures: Mapping[str, float]) -> bool:
    """Whether a bucket's figures rest on enough true links; those of reports without counts do."""
    return figures.get("links", FEW_LINKS) >= FEW_LINKS


def buckets(counts: npt.ArrayLike, truth: csr_matrix) -> list[Bucket]:
    """The buckets that hold any label, rarest first. Labels whose items are all held out fall into the first.

    Args:
        counts: [L] training items of each label.
        truth: CSR [N, L] true links.
    """
    counts = np.asarray(counts)
    place = np.searchsorted(EDGES, counts, side="right").clip(1) - 1
    links = np.bincount(truth.indices, minlength=len(counts))
    found = []
    for number, low in enumerate(EDGES):
        inside = place == number
        high = EDGES[number + 1] - 1 if number + 1 < len(EDGES) else None
        if inside.any():
            found.append(Bucket(f"{low}-{high}" if high else f">{low - 1}", inside, int(links[inside].sum())))
    return found


def bucket_metrics(scores: csr_matrix, truth: csr_matrix, groups: list[Bucket]) -> dict[str, dict[str, float]]:
    """Recall@10 of each bucket's true links, and its part of P@5 (the parts add up to P@5).

    Returns:
        `{"1-2": {"recall_10": ..., "part_of_P_5": ..., "labels": ..., "links": ...}, ...}`; recall is micro: found
        links over links; labels and true links of the bucket are counts.
    """
    _, labels, ranks = true_ranks(scores, truth)
    told = {}
    for group in groups:
        inside = group.labels[labels]
        recall = float((ranks[inside] < 10).mean()) if inside.any() else 0.0
        told[group.name] = {
            "recall_10": recall,
            "part_of_P_5": float((ranks[inside] < 5).sum() / (5 * max(1, truth.shape[0]))),
            "labels": int(group.labels.sum()),
            "links": int(inside.sum()),
        }
    return told
