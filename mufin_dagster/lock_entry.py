"""The settings in a stage's entry of dvc.lock: those that it ran with, whatever params.yaml says by now.

`dvc commit` records what params.yaml holds at that moment. A run reads a copy of its own (`run_settings.py`), so that
the file may be edited meanwhile. `dvc status` then truly says that the stage's settings changed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mufin_model import owners
from mufin_model.config import read

FILE = "params.yaml"


def settings(root: Path, address: str, file: str = FILE) -> dict[str, Any]:
    """The settings that dvc.lock records of a stage, by their keys; empty where it records none of that file."""
    path = root / "dvc.lock"
    entries = (read(path).get("stages") or {}) if path.is_file() else {}
    return dict(((entries.get(address) or {}).get("params") or {}).get(file) or {})


def record(root: Path, address: str, values: Mapping[str, Any], file: str = FILE) -> None:
    """Replace them, under DVC's own lock and by one rename; nothing where they are these already."""
    if settings(root, address, file) == values:
        return
    from dvc.lock import make_lock
    from dvc.repo import Repo
    from dvc.utils.serialize import dump_yaml

    path = root / "dvc.lock"
    with Repo(str(root)) as repo:
        assert repo.tmp_dir is not None
        with make_lock(os.path.join(repo.tmp_dir, "lock"), tmp_dir=repo.tmp_dir, wait=True):
            content = read(path)
            content["stages"][address].setdefault("params", {})[file] = dict(values)
            part = path.with_name(f".{path.name}.{owners.token()}")
            dump_yaml(str(part), content)
            os.replace(part, path)
