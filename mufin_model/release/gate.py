"""The gate: whether a challenger may take the current release's place, and if not, why.

It is refused where any of these holds; all of them are told, not the first alone:

- a quality check of the data it was made from failed (`release.checks`);
- a simple baseline is clearly ahead of it (`evaluation/floor.py`);
- it is worse than the current release on the gate's own test items by more than a tolerance, overall or in one
  frequency bucket (`compare.py`), or cannot be compared (`ground.py`);
- its folder does not load, its answers are not those that were measured, it is too slow or too large;
- it was put in front before, and rolled back by hand.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, load_npz

from mufin_model.catalog.catalog import Catalog
from mufin_model.config import Settings
from mufin_model.errors import MufinError
from mufin_model.evaluation.floor import rivals
from mufin_model.evaluation.metrics import without
from mufin_model.release.compare import Comparison, compare
from mufin_model.release.ground import NONE, ground, queries
from mufin_model.release.model import Model, threads
from mufin_model.release.package import SCORES, megabytes
from mufin_model.release.queries import Query
from mufin_model.release.shelf import Current

CHECKS = "MUFIN_CHECKS"
"""Environment variable in which the orchestrator tells what the quality rules said: `{"critical": [...], "warning":
[...]}`, a line a failed rule. Where the library runs alone, nobody has asked."""

TIMED = 30
"""Items asked one at a time."""
QUICK = 0.1
"""Quantile of their times that counts: other work on the machine slows the rest, which is no fault of the model."""
SAME_FIRST = 0.9
"""Share of them whose first label must be the one that was measured: another batch size may swap near ties."""


@dataclass
class Verdict:
    """What was decided of a challenger.

    Attributes:
        reasons: why it was refused; empty where it was promoted.
        how: what the comparison was over.
        compared: each figure of both.
        checks: what the quality rules said; None where nobody asked.
        notes: what a person should know besides.
        measured: of this machine and moment: milliseconds, megabytes. Not in the artefact, which holds no durations.
    """

    challenger: str
    champion: str | None
    reasons: list[str] = field(default_factory=list)
    how: str = NONE
    compared: list[Comparison] = field(default_factory=list)
    checks: dict[str, list[str]] | None = None
    notes: list[str] = field(default_factory=list)
    measured: dict[str, float] = field(default_factory=dict)

    @property
    def promoted(self) -> bool:
        return not self.reasons

    def lasting(self) -> dict[str, Any]:
        """All but what was measured: the same whenever the same two meet."""
        told = {name: value for name, value in asdict(self).items() if name != "measured"}
        return {**told, "decision": "promoted" if self.promoted else "refused"}


def judge(
    packed: Path,
    name: str,
    champion: Current | None,
    today: Catalog,
    settings: Settings,
    withdrawn: bool,
    metrics: Mapping[str, Any],
    environment: Mapping[str, str] = os.environ,
) -> Verdict:
    """Decide about a packed release.

    Args:
        packed: its folder.
        name: its name.
        champion: what is served; None before the first release.
        today: the catalogue that it was made of.
        settings: of the run.
        withdrawn: whether it was rolled back by hand before.
        metrics: eval_report's metrics.json of the challenger.
        environment: where the quality checks are told.
    """
    wanted = settings.release
    verdict = Verdict(name, champion.name if champion else None, checks=_checks(environment))
    if not wanted.gate:
        verdict.notes.append("put in front without a gate (release.gate is false)")
        return verdict
    if withdrawn:
        verdict.reasons.append("it was rolled back by hand before, and is the same still")
    if verdict.checks is None:
        verdict.notes.append("no quality check was asked: the orchestrator is not here")
    else:
        blocking = verdict.checks["critical"] + (verdict.checks["warning"] if wanted.checks == "all" else [])
        verdict.reasons += [f"check failed: {line}" for line in blocking]
    _floor(verdict, metrics)
    _try(verdict, packed, today, settings)
    if champion is not None:
        _against(verdict, packed, champion, today, settings)
    else:
        verdict.notes.append("the first release: there is none to compare it with")
    return verdict


def _checks(environment: Mapping[str, str]) -> dict[str, list[str]] | None:
    told = environment.get(CHECKS)
    return None if told is None else {"critical": [], "warning": [], **json.loads(told)}


def _floor(verdict: Verdict, metrics: Mapping[str, Any]) -> None:
    """Whether it is worse than what anyone would try first; a figure that is zero, or of too few items, is said."""
    found = rivals(metrics)
    verdict.reasons += [f"a simple baseline is clearly ahead: {rival}" for rival in found if rival.clearly_ahead]
    if not found:
        verdict.notes.append(f"{metrics['items']:,} test items cannot tell it from a simple baseline")
    elif not found[0].clearly_ahead:
        verdict.notes.append(f"the best simple baseline: {found[0]}")
    if metrics["items"] and not any(value for name, value in metrics["mufin"].items() if name.startswith("P@")):
        verdict.notes.append(f"none of its first answers is right, for any of {metrics['items']:,} test items")


def _against(verdict: Verdict, packed: Path, champion: Current, today: Catalog, settings: Settings) -> None:
    wanted = settings.release
    over = ground(packed, champion.folder, today, wanted, settings.seed, settings.evaluate.gate_share)
    if over is None:
        verdict.reasons.append(
            f"it cannot be compared with {champion.name}: not {wanted.least_items} of the gate's test items are common"
            f" to both, and {champion.name} cannot be scored on the new ones (to put it in front all the same:"
            " mufin release -d DATASET -S release.gate=false)"
        )
        return
    verdict.how = over.how
    verdict.notes.append(f"decided by {over.truth.shape[0]:,} of {len(today.rows('test')):,} test items")
    verdict.notes += [over.note] if over.note else []
    verdict.compared = compare(over.ours, over.theirs, over.truth, over.groups, wanted, settings.seed)
    verdict.reasons += [str(one) for one in verdict.compared if not one.passed]
    small = [one.name for one in verdict.compared if not one.decides]
    if small:
        verdict.notes.append(f"too few links to decide by (release.least_links): {', '.join(small)}")


def _try(verdict: Verdict, packed: Path, today: Catalog, settings: Settings) -> None:
    """Load the release as serving will, ask it some items one at a time, weigh it."""
    wanted = settings.release
    size = megabytes(packed)
    verdict.measured["megabytes"] = round(size, 1)
    if size > wanted.megabytes:
        verdict.reasons.append(f"its folder takes more than {wanted.megabytes:g} MB (release.megabytes)")
    try:
        model = Model(packed)
        rows = today.rows("test")
        asked = np.random.default_rng(settings.seed).permutation(len(rows))[:TIMED]
        items = queries(today, rows[asked], model.encoder.sees_pictures) or [Query("warm up")]
        milliseconds, same = _ask(model, items, packed, today, asked)
    except (MufinError, RuntimeError, ValueError, KeyError, OSError) as error:
        first = str(error).splitlines()[0]
        verdict.reasons.append(f"it does not serve: {first}")
        return
    verdict.measured["milliseconds"] = round(milliseconds, 2)
    if milliseconds > wanted.milliseconds:
        verdict.reasons.append(f"one item takes more than {wanted.milliseconds:g} milliseconds (release.milliseconds)")
    if same < SAME_FIRST and model.encoder.sees_pictures:
        verdict.reasons.append(f"only {same:.0%} of its answers begin with the label that was measured")


def _ask(model: Model, items: list[Query], packed: Path, today: Catalog, asked: np.ndarray) -> tuple[float, float]:
    """The milliseconds of an item (QUICK), and the share of first labels that are those stored of the test items."""
    seconds, answers = [], []
    with threads(1):
        for item in items:
            began = time.perf_counter()
            answers.append(model.scores([item], 100))
            seconds.append(time.perf_counter() - began)
    milliseconds = 1000 * float(np.quantile(seconds, QUICK))
    if not len(asked):
        return milliseconds, 1.0
    stored, filters = csr_matrix(load_npz(packed / SCORES))[asked], today.filters("test")[asked]
    firsts = [(_first(without(answer, filters[place])), _first(stored[place])) for place, answer in enumerate(answers)]
    return milliseconds, float(np.mean([one == other for one, other in firsts]))


def _first(row: Any) -> int:
    return int(row.indices[row.data.argmax()]) if row.nnz else -1
