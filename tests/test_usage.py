"""What a stage used."""

from __future__ import annotations

import numpy as np
import pytest

from mufin_model.artefacts import Workspace
from mufin_model.usage import measured


def test_the_peak_covers_what_was_freed_meanwhile():
    with measured() as before:
        pass
    with measured() as told:
        block = np.ones(int(1e9 * (before["peak_memory_mb"] + 100) / 1e3 / 8))
        del block
    assert told["peak_memory_mb"] > before["peak_memory_mb"] + 50


def test_figures_are_there_after_an_error_too():
    def broken() -> None:
        with measured() as figures:
            told.append(figures)
            raise ValueError("x")

    told: list[dict[str, float]] = []
    with pytest.raises(ValueError, match="x"):
        broken()
    assert told[0]["peak_memory_mb"] > 1


def test_the_workspace_keeps_them_by_stage(tmp_path):
    workspace = Workspace(tmp_path)
    assert workspace.usage("demo", "predictions") == {}
    workspace.used("demo", "predictions", {"peak_memory_mb": 12.5})
    assert workspace.usage("demo", "predictions") == {"peak_memory_mb": 12.5}
    assert workspace.usage("demo", "anns_index") == {}
