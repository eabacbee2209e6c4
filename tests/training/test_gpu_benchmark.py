"""The benchmark of training steps, on whatever machine the tests run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_every_row_has_its_figures(tmp_path) -> None:
    out = tmp_path / "table.md"
    small = [
        "--image-backbone",
        "test_byobnet",
        "--batch-size",
        "16",
        "--steps",
        "2",
        "--items",
        "64",
        "--image-size",
        "16",
    ]
    settings = ["-S", "pretrain.dimension=32", "-S", "encode.text_width=32", "-S", "encode.text_vocabulary=500"]
    command = [sys.executable, "-m", "benchmarks.gpu", *small, *settings, "--out", str(out)]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert out.read_text().strip() in ended.stdout
    lines = [line.split("|") for line in out.read_text().splitlines() if line.startswith("| ") and "fp32" in line]
    assert len(lines) >= 4
    for _, name, milliseconds, items, *_ in lines:
        assert float(milliseconds) > 0, name
        assert float(items.replace(",", "")) > 0, name
