"""Fingerprints: what a stage's result depends on beside its artefacts and settings, in one file that DVC reads.

    code        the modules that the stage can run, each with a hash of what it does (closure.py)
    libraries   versions of those that compute
    weights     pretrained ones that its settings name (weights.py)

`data/.fingerprint/stages.json` has them by dataset and verb. dvc.yaml names its keys under `params`, so that dvc.lock
holds what a result was made with, word for word. `mufin fingerprint` writes the file, the first stage of dvc.yaml.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import mufin_model
from mufin_model import config
from mufin_model.artefacts import read_json, write_json
from mufin_model.errors import LibraryError, MufinError
from mufin_model.fingerprint.closure import closure
from mufin_model.fingerprint.weights import Hashes, weights
from mufin_model.stages import LIBRARY, entries

FILE = "data/.fingerprint/stages.json"
HASHES = "data/.fingerprint/files.json"
IN_STAGE = "DVC_STAGE"
"""Environment variable of a command whose result is recorded."""
WEIGHED = "encode"
"""The verb that reads pretrained weights; all later ones read what it left."""

LIBRARIES: dict[str, tuple[str, ...]] = {
    "torch": ("torch",),
    "transformers": ("transformers",),
    "timm": ("timm",),
    "faiss": ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12", "faiss"),
}
"""Import name to the distributions that may bring it. A version of numpy or polars is none: they change no result that
matters, and each upgrade would train anew."""

Fingerprint = dict[str, dict[str, str | None]]


def running() -> Path:
    """The folder of the library that this process runs."""
    return Path(mufin_model.__file__).resolve().parents[1]


def library(root: Path) -> Path:
    """The folder of the library that counts for a project: its own copy, or the one that runs where it has none."""
    own = root / "mufin_model"
    return root.resolve() if (own / "__init__.py").is_file() else running()


def of(verb: str, folder: Path) -> Fingerprint:
    """A stage's code in `folder`, and the libraries of this installation that it imports."""
    found = closure(entries(verb), folder)
    versions = {name: version(name) for name in LIBRARIES if name in found.imports}
    return {"code": dict(found.modules), "libraries": dict(versions)}


def version(name: str) -> str:
    """Of an installed library, without the part that names its build (`+cu130`)."""
    for distribution in LIBRARIES[name]:
        try:
            return metadata.version(distribution).partition("+")[0]
        except metadata.PackageNotFoundError:
            continue
    return "missing"


def refresh(root: Path) -> None:
    """Bring the file up to date; it is written only where something changed.

    Raises:
        SettingError: params.yaml does not load.
    """
    stages = {verb: of(verb, library(root)) for verb in LIBRARY}
    hashes = Hashes(root / HASHES)
    now: dict[str, dict[str, Fingerprint]] = {}
    for dataset in config.read(root / "params.yaml").get("datasets") or []:
        found = named_weights(root, str(dataset), root / "params.yaml", hashes)
        now[str(dataset)] = {**stages, WEIGHED: {**stages[WEIGHED], "weights": found}}
    if _read(root) != now:
        (root / FILE).parent.mkdir(parents=True, exist_ok=True)
        write_json(root / FILE, now)


def named_weights(root: Path, dataset: str, params: Path, hashes: Hashes | None = None) -> dict[str, str | None]:
    """The weights that the settings of a dataset name, in params.yaml or a run's copy of it."""
    try:
        chosen = config.load(params, dataset).encode
    except MufinError:  # the stage itself says what is wrong with its settings
        return {}
    return weights(root, chosen, hashes or Hashes(root / HASHES))


def recorded(root: Path, dataset: str, verb: str) -> Fingerprint | None:
    """A stage's fingerprint as the file has it."""
    found: Fingerprint | None = _read(root).get(dataset, {}).get(verb)
    return found


def check(root: Path) -> None:
    """Refuse to work on a project with another library than the project's own copy.

    Raises:
        LibraryError: a module differs, for any stage.
    """
    if library(root) == running():
        return
    differing = sorted({line for verb in LIBRARY for line in _code(of(verb, running()), of(verb, library(root)))})
    if differing:
        raise _another(differing, f"{running()} runs, the project's own lies in {library(root)}")


def begin(root: Path, dataset: str, verb: str) -> Fingerprint:
    """Before a stage: hold the library that runs against the one that is recorded, if the result will be.

    Returns:
        what is recorded, for `end`.

    Raises:
        LibraryError: they differ.
    """
    mine = of(verb, running())
    if IN_STAGE not in os.environ:
        if library(root) != running() and (differing := _code(mine, of(verb, library(root)))):
            raise _another(differing, f"{running()} runs, the project's own lies in {library(root)}")
        return {}
    if recorded(root, dataset, verb) is None:  # `dvc repro --single-item` in a fresh clone
        refresh(root)
    asked = recorded(root, dataset, verb) or {}
    if differing := changes({**asked, "weights": {}}, mine):
        raise _another(differing, f"{running()} runs, {root / FILE} is recorded")
    return asked


def end(root: Path, dataset: str, verb: str, asked: Fingerprint) -> None:
    """After a stage: what is recorded must still be what it began with. Weights fetched meanwhile are noted.

    Raises:
        LibraryError: code, libraries or weights changed while it ran.
    """
    if not asked:
        return
    if None in asked.get("weights", {}).values():
        refresh(root)
    now = recorded(root, dataset, verb) or {}
    if differing := meanwhile(asked, now):
        raise LibraryError(
            f"code, libraries or weights of {verb} changed while it ran",
            where=str(root / FILE),
            rows=differing,
            mend="run it again: what it left belongs to neither version",
        )


def meanwhile(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What changed while a stage ran; not weights that were fetched by it, nor that settings named since or before."""
    old, new = before.get("weights", {}), after.get("weights", {})
    both = [name for name in old if old[name] is not None and name in new]
    return changes(
        {**before, "weights": {name: old[name] for name in both}},
        {**after, "weights": {name: new[name] for name in both}},
    )


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs between two fingerprints, a line each: "torch 2.13.0 -> 2.14.1"."""
    lines = _code(before, after)
    for name, (old, new) in _differing(before, after, "libraries"):
        lines.append(f"{name} {old or 'unused'} -> {new or 'unused'}")
    for name, (old, new) in _differing(before, after, "weights"):
        if name not in after.get("weights", {}):
            lines.append(f"weights {name} no longer used")
        elif name not in before.get("weights", {}):
            lines.append(f"weights {name} new")
        else:
            lines.append(f"weights {name} changed ({old or 'not fetched'} -> {new or 'not fetched'})")
    return lines


def _code(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [
        f"code: {name} {'new' if old is None else 'removed' if new is None else 'changed'}"
        for name, (old, new) in _differing(before, after, "code")
    ]


def _differing(
    before: Mapping[str, Any], after: Mapping[str, Any], kind: str
) -> list[tuple[str, tuple[str | None, str | None]]]:
    old, new = before.get(kind) or {}, after.get(kind) or {}
    return [(name, (old.get(name), new.get(name))) for name in sorted({*old, *new}) if old.get(name) != new.get(name)]


def _read(root: Path) -> dict[str, dict[str, Fingerprint]]:
    try:
        found: dict[str, dict[str, Fingerprint]] = dict(read_json(root / FILE))
        return found
    except MufinError:
        return {}


def _another(differing: list[str], where: str) -> LibraryError:
    return LibraryError(
        "the library that runs is not the one that is recorded",
        where=where,
        rows=differing,
        mend="run the project's own (.venv/bin/mufin, or `pip install -e .` in it), or build the image anew from it",
    )
