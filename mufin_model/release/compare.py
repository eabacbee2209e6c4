"""A challenger beside the current release on the same test items, by paired bootstrap.

For each metric and each frequency bucket: the difference, challenger less champion, is computed for every item; items
are drawn with replacement, and the *risk* is the share of draws in which the challenger is worse by more than the
tolerance. It is refused where a risk exceeds what the settings allow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from mufin_model.config import Release
from mufin_model.evaluation.buckets import Bucket
from mufin_model.evaluation.metrics import row_metrics, true_ranks

RESAMPLES = 2_000
"""Of each bootstrap; a risk of 0.2 is then known to within 0.02."""

FOUND = 10
"""A true link counts as found among so many labels, as in `buckets`."""

DIGITS = 6


@dataclass(frozen=True)
class Comparison:
    """One figure of both.

    Attributes:
        name: a metric, or `R@10 of 1-2` for the labels of that many training items.
        ours, theirs: the challenger's and the champion's, fractions.
        low, high: 95 % interval of the difference.
        tolerance: how much worse it may be.
        risk: share of resamples in which it is worse by more.
        over: items, or of a bucket true links.
        decides: False where there is too little to decide by.
        passed: the risk is allowed, or does not decide.
    """

    name: str
    ours: float
    theirs: float
    low: float
    high: float
    tolerance: float
    risk: float
    over: int
    decides: bool
    passed: bool

    def __str__(self) -> str:
        ahead = 100 * (self.ours - self.theirs)
        return (
            f"{self.name} {100 * self.ours:.2f} % beside {100 * self.theirs:.2f} % ({ahead:+.2f}"
            f" points, 95 % interval {100 * self.low:+.2f} to {100 * self.high:+.2f}): worse by more than"
            f" {100 * self.tolerance:g} in {self.risk:.0%} of resamples"
        )


def compare(
    ours: csr_matrix, theirs: csr_matrix, truth: csr_matrix, groups: list[Bucket], settings: Release, seed: int
) -> list[Comparison]:
    """Every metric of the settings, then recall of every bucket, rarest labels first.

    Args:
        ours: the challenger's scores, CSR [n, L'].
        theirs: the champion's, of the same items and labels.
        truth: true links, CSR [n, L'].
        groups: the buckets, of L' labels.
        settings: tolerances and the allowed risk.
        seed: of the resamples.
    """
    found = []
    ks = tuple(sorted({int(name.partition("@")[2]) for name in settings.metrics}))
    one = np.ones(truth.shape[1])
    rows = [row_metrics(scores, truth, one, ks, ks) for scores in (ours, theirs)]
    every = np.ones(truth.shape[0])
    for name in settings.metrics:
        mine, its = (of.column(name) for of in rows)
        found.append(_comparison(name, mine, its, every, settings.tolerance, True, settings, seed))
    item, labels, _ = true_ranks(ours, truth)
    hits = [(true_ranks(scores, truth)[2] < FOUND).astype(float) for scores in (ours, theirs)]
    for group in groups:
        inside = group.labels[labels]
        mine, its = (np.bincount(item[inside], hit[inside], truth.shape[0]).astype(np.float64) for hit in hits)
        links = np.bincount(item[inside], minlength=truth.shape[0]).astype(float)
        decides = links.sum() >= settings.least_links
        name = f"R@{FOUND} of {group.name}"
        found.append(_comparison(name, mine, its, links, settings.bucket_tolerance, decides, settings, seed))
    return found


def _comparison(
    name: str,
    ours: np.ndarray,
    theirs: np.ndarray,
    weight: np.ndarray,
    tolerance: float,
    decides: bool,
    settings: Release,
    seed: int,
) -> Comparison:
    total = max(float(weight.sum()), 1.0)
    draws = resample(ours - theirs, weight, seed)
    risk = float((draws < -tolerance - 1e-9).mean())
    low, high = np.quantile(draws, [0.025, 0.975])
    return Comparison(
        name,
        ours=round(float(ours.sum()) / total, DIGITS),
        theirs=round(float(theirs.sum()) / total, DIGITS),
        low=round(float(low), DIGITS),
        high=round(float(high), DIGITS),
        tolerance=tolerance,
        risk=round(risk, 4),
        over=int(weight.sum()),
        decides=bool(decides),
        passed=bool(not decides or risk <= settings.risk),
    )


def resample(gap: np.ndarray, weight: np.ndarray, seed: int) -> np.ndarray:
    """The ratio of sums, gap over weight, of items [n] drawn with replacement: float64 [RESAMPLES].

    Items with the same gap and weight are alike to a resample, so each is one multinomial draw over the distinct pairs:
    the same distribution as drawing item by item. Gaps count to three decimals, so that the pairs stay few.
    """
    pairs, counts = np.unique(np.stack([np.round(gap, 3), weight], 1), axis=0, return_counts=True)
    if not len(gap) or not weight.any():
        return np.zeros(RESAMPLES)
    drawn = np.random.default_rng(seed).multinomial(len(gap), counts / len(gap), size=RESAMPLES)
    return (drawn @ pairs[:, 0]) / np.maximum(drawn @ pairs[:, 1], 1e-9)
