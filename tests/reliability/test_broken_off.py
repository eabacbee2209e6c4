"""kill -9 at random moments of every stage, and a full disk in each: no half artefact, and the next run is as any."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PARAMS, SMALL, Small

from .broken import CHANGED, KILLS, NO_ROOM, digests


@pytest.mark.timeout(1800)
def test_every_stage_broken_off_at_random(built: Small, tmp_path: Path) -> None:
    small = built.branch(tmp_path / "project", ("ingest", "encode", "pretrain", "index", "mine", "finetune", "predict"))
    small.run("evaluate", "release")
    seed = int(os.environ.get("MUFIN_SEED") or random.randrange(10**6))
    done = subprocess.run(
        [sys.executable, "-m", "tests.reliability.broken", str(small.workspace.root), str(seed)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"},
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


@pytest.mark.timeout(900)
def test_one_training_started_twice_is_as_one(built: Small, tmp_path: Path) -> None:
    """In two shells: the second waits, neither takes the other's checkpoint away, and both end well."""
    small = built.branch(tmp_path / "project", ("ingest", "encode"))
    shutil.copy(PARAMS, small.workspace.root)
    command = [sys.executable, "-m", "mufin_model.cli", "pretrain", "-d", small.dataset]
    command += [part for override in SMALL for part in ("-S", override)]
    env = os.environ | {"MUFIN_ROOT": str(small.workspace.root)}
    with small.workspace.alone(small.dataset, "pretrained_model"):
        begun = [
            subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(2)
        ]
        for one in begun:
            assert any("another process is at it" in line for line in iter(one.stdout.readline, "")), one.wait()
    told = [one.communicate()[0] for one in begun]
    assert [one.returncode for one in begun] == [0, 0], told
    assert digests(small.noun("pretrained_model")) == digests(built.noun("pretrained_model"))
