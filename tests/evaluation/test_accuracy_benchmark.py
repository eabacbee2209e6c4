"""The benchmark behind the README's table, on a catalogue of a moment's training."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from scipy.sparse import csr_matrix

from benchmarks import accuracy
from mufin_model import config
from mufin_model.catalog import synthetic
from mufin_model.evaluation.metrics import row_metrics
from tests.conftest import PARAMS, SMALL

REPOSITORY = Path(__file__).parents[2]


def test_its_table(tmp_path: Path) -> None:
    catalogue, out, work = tmp_path / "shop", tmp_path / "table.md", tmp_path / "work"
    synthetic.write(catalogue, items=80, seed=3)
    small = [one for one in SMALL if not one.startswith("seed=")]
    random = ["encode.image_weights=none", "encode.image_scaled=0", "encode.text_backbone=bert"]
    settings = [word for one in (*small, *random) for word in ("-S", one)]
    command = [sys.executable, "-m", "benchmarks.accuracy", str(catalogue), "--preset", "best", *settings]
    command += ["--out", str(out), "--work", str(work), "--jobs", "2", "--against", "text alone"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert out.read_text().strip() in ended.stdout
    lines = [line.split("|")[1:-1] for line in out.read_text().splitlines() if line.startswith("| ")]
    head, *rows = ([cell.strip() for cell in line] for line in lines)
    told = {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}
    assert {"popularity", "images alone", "text alone", "best"} <= set(told)
    for name, cells in told.items():
        assert 0 < float(cells["P@1"]) <= 100, name
        assert 0 < float(cells["R@10"]) <= 100, name
    gap = float(told["popularity"]["P@1"]) - float(told["text alone"]["P@1"])
    shown = told["popularity"][head[-1]].split(" [")[0]
    assert float(shown) == pytest.approx(gap, abs=0.11)
    assert told["text alone"][head[-1]] == ""
    # ingest and encode once for the three models, the other five stages for each
    assert len(list(work.glob("*/*-*.json"))) == 2 + 3 * 5


def test_a_row_that_is_none_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="images alone, text alone"):
        accuracy.main(tmp_path, against="mufin, no A_C")


def test_each_gpu_is_shown_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert [one["CUDA_VISIBLE_DEVICES"] for one in accuracy._environments()] == ["2", "3"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert [one["CUDA_VISIBLE_DEVICES"] for one in accuracy._environments()] == ["0", "1", "2"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert accuracy._environments() == [dict(os.environ)]


def test_intervals_are_of_the_mean_over_seeds() -> None:
    truth = csr_matrix(np.eye(2, 3, dtype=np.float32))
    right, wrong = (csr_matrix(np.roll(np.eye(2, 3, dtype=np.float32), by, axis=1)) for by in (0, 1))
    found = [row_metrics(scores, truth, np.ones(3), [1], []) for scores in (right, wrong, right)]
    np.testing.assert_allclose(accuracy._mean(found).column("P@1"), [2 / 3, 2 / 3])


def test_another_catalogue_and_other_code_start_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = tmp_path / "shop"
    synthetic.write(catalogue, items=40, seed=3)
    name = accuracy._named_by(catalogue)
    assert accuracy._named_by(catalogue) == name
    synthetic.write(tmp_path / "other", items=40, seed=4)
    assert accuracy._named_by(tmp_path / "other") != name
    with monkeypatch.context() as patched:
        patched.setattr(accuracy, "code_version", lambda: "another")
        assert accuracy._named_by(catalogue) != name
    (catalogue / "train.parquet").write_bytes(b"changed")
    assert accuracy._named_by(catalogue) != name


@pytest.mark.parametrize(("preset", "name"), [(p, name) for p, rows in accuracy.ABLATIONS.items() for name in rows])
def test_an_ablation_changes_its_preset(preset: str, name: str) -> None:
    base = config.load(PARAMS, "demo", [f"preset={preset}"])
    varied = config.load(PARAMS, "demo", [f"preset={preset}", *accuracy.ABLATIONS[preset][name]])
    assert varied != base


def test_averaged_scores_weigh_each_model_alike() -> None:
    # The second model says the same in numbers ten times as large, of the first item; of the second it knows one label.
    first = csr_matrix(np.array([[0.1, 0.2, 0.3], [3.0, 1.0, 2.0]], np.float32))
    second = csr_matrix(np.array([[1.0, 2.0, 3.0], [0.0, 5.0, 0.0]], np.float32))
    mean = accuracy.averaged([first, second]).toarray()
    alone = accuracy.averaged([first]).toarray()
    np.testing.assert_allclose(mean[0], alone[0], rtol=1e-4)
    assert mean[1].argmax() == 0
