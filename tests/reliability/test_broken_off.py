"""kill -9 at random moments of every stage, and a full disk in each: no half artefact, and the next run is as any."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Small

from .broken import CHANGED, KILLS, NO_ROOM


@pytest.mark.timeout(1800)
def test_every_stage_broken_off_at_random(built: Small, tmp_path: Path) -> None:
    small = built.branch(tmp_path / "project", ("ingest", "encode", "pretrain", "index", "mine", "finetune", "predict"))
    small.run("evaluate", "release")
    seed = int(os.environ.get("MUFIN_SEED") or random.randrange(10**6))
    done = subprocess.run(
        [sys.executable, "-m", "tests.reliability.broken", str(small.workspace.root), str(seed)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    said = f"MUFIN_SEED={seed} repeats it\n{done.stdout}{done.stderr[-3000:]}"
    assert done.returncode == 0, said
    told = {one["verb"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert list(told) == list(CHANGED)
    for verb, one in told.items():
        assert one["whole"] == one["again"] == 0, (verb, said)
        assert one["differs"], verb
        assert one["no room"] == NO_ROOM, (verb, said)
        assert one["untouched"], (verb, said)
        assert len(one["kills"]) == KILLS
        assert "torn" not in {state for _, state in one["kills"]}, (verb, said)
        assert one["as unbroken"], (verb, said)
        assert one["left"] == [], (verb, said)
    assert sum(how == "killed" for one in told.values() for how, _ in one["kills"]) > len(CHANGED), said
