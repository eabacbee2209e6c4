"""Killed between any two steps of a promotion, what was served still is, or its successor is, whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Small

from .conftest import shelf_of
from .killed import STEPS

BEFORE = ("packed", "recorded", "taken")


def test_a_kill_at_any_step_leaves_a_whole_release_in_front(
    good: Small, worse: Small, site: Callable[..., Small]
) -> None:
    small = site(worse)
    small.run("release")
    old = shelf_of(small).current().name
    site(good)
    done = subprocess.run(
        [sys.executable, "-m", "tests.release.killed", str(small.workspace.root)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = {one["step"]: one for line in done.stdout.splitlines() if line.startswith("{") for one in [json.loads(line)]}
    assert list(told) == list(STEPS), done.stderr[-3000:]
    (new,) = {one["then"] for one in told.values()}
    assert new != old
    for step, one in told.items():
        assert one["code"] == -9, (step, done.stderr[-3000:])
        assert one["served"] == (old if step in BEFORE else new), step
        assert one["whole"], step
        assert one["mirror whole"], step
        assert one["again"] == 0, (step, done.stderr[-3000:])
        assert one["left"] == [".lock"], step
