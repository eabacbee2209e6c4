"""What a release was made of: data, code, settings and environment. No time and no path, so that it can be made again.

When it was made, on which machine and of which commit is told by the record of its promotion (`history.py`).
"""

from __future__ import annotations

import hashlib
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import mufin_model
from mufin_model.artefacts import Workspace
from mufin_model.config import Settings

LIBRARIES = ("torch", "transformers", "timm", "faiss-cpu", "numpy", "scipy", "polars", "pyarrow", "pillow", "mufin")
DIGITS = 12


def provenance(workspace: Workspace, dataset: str, settings: Settings) -> dict[str, Any]:
    """Versions of data, code and settings (hashes of what they are), libraries and the kind of machine."""
    return {
        "data": data_version(workspace.read(dataset, "raw_descriptors")),
        "code": code_version(),
        "params": _hash(json.dumps(settings.model_dump(mode="json", exclude={"release"}), sort_keys=True).encode()),
        "seed": settings.seed,
        "libraries": {"python": platform.python_version(), **_libraries()},
        "machine": machine(),
    }


def data_version(folder: Path) -> str:
    """Of raw_descriptors: a hash of its files, those of the images by their index, which names them by content."""
    files = [*sorted(folder.glob("*.*")), folder / "images" / "index.json"]
    return _hash(b"".join(path.name.encode() + hashlib.sha256(path.read_bytes()).digest() for path in files))


def code_version() -> str:
    """Of the library that runs: a hash of its source."""
    root = Path(mufin_model.__file__).parent
    files = sorted(root.rglob("*.py"))
    return _hash(b"".join(str(path.relative_to(root)).encode() + path.read_bytes() for path in files))


def machine() -> dict[str, str]:
    """The kind of machine, not which one."""
    import torch

    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"system": platform.system(), "architecture": platform.machine(), "accelerator": accelerator}


def _libraries() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # faiss is called otherwise where it was built for GPUs
            continue
    return found


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:DIGITS]
