"""One training over several processes, started from the environment: on one node, and on two that meet."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys

import numpy as np
import yaml

from tests.conftest import Small

SETTINGS = (
    "pretrain.dropout=0",
    "pretrain.modality_dropout=0",
    "pretrain.train_backbones=false",
    "pretrain.epochs=1",
    "pretrain.batch_size=31",
)


def start(small: Small, *arguments: str, **env: str) -> subprocess.Popen[str]:
    written = {"datasets": [small.dataset], **small.settings.model_dump()}
    small.workspace.params.write_text(yaml.safe_dump(written))
    own = os.environ | {"MUFIN_ROOT": str(small.workspace.root), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [sys.executable, "-m", "mufin_model.cli", "pretrain", "--dataset", small.dataset, *arguments],
        env=own | env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def end(*started: subprocess.Popen[str]) -> list[str]:
    said = [one.communicate(timeout=120)[0] for one in started]
    assert [one.returncode for one in started] == [0] * len(started), said
    return said


def loss(small: Small) -> float:
    (row,) = csv.DictReader((small.noun("pretrained_model") / "loss.csv").open())
    return float(row["loss"])


def test_two_processes_or_two_nodes_train_as_one(built: Small, tmp_path) -> None:
    places = {name: built.branch(tmp_path / name, ("ingest", "encode"), SETTINGS) for name in ("one", "ranks", "nodes")}
    end(start(places["one"]))
    (said,) = end(start(places["ranks"], "-S", "seed=3", MUFIN_RANKS="2"))
    assert said.count("pretrained on") == 1
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meet = f"127.0.0.1:{free.getsockname()[1]}"
    nodes = {"MUFIN_RANKS": "1", "MUFIN_NODES": "2", "MUFIN_MEET": meet}
    said = end(*(start(places["nodes"], MUFIN_NODE=str(node), **nodes) for node in range(2)))
    assert [text.count("pretrained on") for text in said] == [1, 0]
    losses = [loss(place) for place in places.values()]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-4)


def test_a_users_mistake_keeps_its_exit_code_and_its_words(built: Small, tmp_path) -> None:
    small = built.branch(tmp_path, ("ingest",), SETTINGS)  # nothing encoded yet
    started = start(small, MUFIN_RANKS="2")
    said = started.communicate(timeout=120)[0]
    assert started.returncode == 2
    assert "mufin encode --dataset demo" in said
