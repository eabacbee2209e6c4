from __future__ import annotations

import os
from pathlib import Path

import pytest

from mufin_model.artefacts import Workspace

from .artefacts import write_good

# outside pytest Great Expectations is imported only after the validator has set this
os.environ["GX_ANALYTICS_ENABLED"] = "false"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A project whose dataset `tiny` keeps every rule."""
    (tmp_path / "params.yaml").write_text("datasets: [tiny]\n")
    write_good(tmp_path)
    return Workspace(tmp_path)
