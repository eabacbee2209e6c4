"""The pipeline as DVC defines it: dvc.yaml read through DVC's own resolver, dvc.lock read as what was done.

    stages = load(workspace.root)           # what dvc.yaml asks for, now
    locked = read_lock(workspace.root, stages)  # what DVC last recorded, by stage address

A stage has two versions. Its *code version* stands for the command, its settings and its fingerprint (code, libraries,
weights: mufin_model/fingerprint/record.py); its *data version* for the bytes it left. Both can be read from either
side, so that Dagster's staleness and `dvc status` follow from the same figures.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mufin_dagster import pointers
from mufin_model import run_mode
from mufin_model.artefacts import CATALOG
from mufin_model.config import read
from mufin_model.errors import SettingError
from mufin_model.fingerprint import record

DATA = "data/"
"""Dependencies under this folder are artefacts; all others are code."""
OTHER_FILES = "files are of another version: dvc checkout"
"""What is said of an artefact whose files are not those that dvc.lock records."""
FINGERPRINT = "fingerprint"
"""The stage that is no asset: it writes the fingerprints of the others."""
LOOKS, LOOK_SECONDS, SETTLED_SECONDS = 50, 0.1, 1.0
"""How often and how far apart dvc.lock is looked at until it stays the same; an older one is taken as it is."""


@dataclass(frozen=True)
class Stage:
    """One stage of one dataset, its matrix expanded. Paths are relative to the project, with forward slashes."""

    noun: str
    dataset: str
    address: str
    cmd: str
    desc: str
    deps: tuple[str, ...]
    """Artefacts read."""
    code: tuple[str, ...]
    """Other files the result depends on."""
    params: tuple[str, ...]
    """Keys of params.yaml the result depends on."""
    outs: tuple[str, ...]
    meta: Mapping[str, Any]
    """dvc.yaml's `meta.dagster`: kinds, need (execution.Need), `fresh`, `here`."""
    code_version: str
    """Of the command, settings and code as they stand now."""
    fingerprint: dict[str, Any]
    """Code, libraries and weights as they stand now; empty where dvc.yaml does not ask for them."""

    @property
    def key(self) -> tuple[str, str]:
        """Dataset and noun: the asset's key."""
        return self.dataset, self.noun


@dataclass(frozen=True)
class Locked:
    """What dvc.lock records of a stage's last run."""

    data_version: str
    code_version: str
    deps: Mapping[str, str]
    """Path of each artefact read, and its hash."""
    outs: Mapping[str, str]
    fingerprint: dict[str, Any]
    """Code, libraries and weights that it was made with."""
    kept: bool
    """Whether it keeps what was learnt before, as the artefact that lies there says (mufin_model/run_mode.py)."""


def load(root: Path) -> tuple[Stage, ...]:
    """The stages of dvc.yaml, in its order. Fingerprints are brought up to date first, in the file that DVC reads.

    Raises:
        SettingError: a stage has no `matrix: {dataset: ...}`, or a setting that it names is not in params.yaml.
    """
    settings = read(root / "params.yaml")
    with _declared(root) as stages:
        if FINGERPRINT in stages:
            record.refresh(root)
        return tuple(_stage(stage, settings, root) for name, stage in stages.items() if name != FINGERPRINT)


def inputs(root: Path, address: str) -> dict[str, str]:
    """Path and hash of each artefact that a stage reads, as they lie there now."""
    with _declared(root) as stages:
        return {dep.def_path: _hash(dep) for dep in stages[address].deps if dep.def_path.startswith(DATA)}


def parents(stage: Stage, stages: Sequence[Stage]) -> tuple[tuple[str, str], ...]:
    """Keys of the assets that a stage reads, found by path; the dataset's catalogue among them."""
    found: dict[tuple[str, str], None] = {}
    for path in stage.deps:
        for other in stages:
            if any(_within(path, out) for out in other.outs):
                found[other.key] = None
        if path == f"{DATA}{stage.dataset}/{CATALOG}":
            found[stage.dataset, CATALOG] = None
    return tuple(found)


def read_lock(root: Path, stages: Sequence[Stage]) -> dict[str, Locked]:
    """Address to what DVC recorded, of the stages that have run. What a killed write has left is repaired first."""
    pointers.settle(root)
    path = root / "dvc.lock"
    entries = (_settled(path).get("stages") or {}) if path.is_file() else {}
    return {stage.address: _locked(stage, entries[stage.address], root) for stage in stages if stage.address in entries}


def other_files(root: Path, stages: Sequence[Stage]) -> list[str]:
    """Addresses of recorded stages whose files are not those that dvc.lock records, as after `git checkout` alone.

    DVC keeps the hashes of files that did not change, so that this is cheap.
    """
    from dvc.dvcfile import load_file
    from dvc.repo import Repo

    asked = {stage.address for stage in stages}
    with Repo(str(root)) as repo:
        found = load_file(repo, str(root / "dvc.yaml")).stages  # filled in from dvc.lock
        return [name for name in found if name in asked and any(_differs(out) for out in found[name].outs)]


def _differs(out: Any) -> bool:
    """Whether an out that dvc.lock records is other than recorded, or not there."""
    return bool(out.hash_info and out.workspace_status())


def catalog_version(root: Path, dataset: str) -> str | None:
    """The catalogue's hash as `dvc add` recorded it; None where it was never added."""
    path = root / DATA / dataset / f"{CATALOG}.dvc"
    return str(read(path)["outs"][0]["md5"]) if path.is_file() else None


def input_version(stage: Stage, parent: Stage, locked: Mapping[str, Locked]) -> str:
    """The data version of `parent` that the locked result of `stage` was made from.

    A stage may read a part of what its parent leaves (one file of three). While that part is what the parent now has,
    the stage counts as made from the parent's present version, as DVC sees it.
    """
    mine = locked[stage.address].deps
    read_now = {path: md5 for path, md5 in mine.items() if any(_within(path, out) for out in parent.outs)}
    theirs = locked.get(parent.address)
    if theirs and all(theirs.outs.get(path) == md5 for path, md5 in read_now.items()):
        return theirs.data_version
    return _joined(list(read_now.values()))


@contextmanager
def _declared(root: Path) -> Iterator[Mapping[str, Any]]:
    """DVC's stages by address, as dvc.yaml declares them: dvc.lock, which DVC may be writing, is not read."""
    from dvc.dvcfile import load_file
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        file = load_file(repo, str(root / "dvc.yaml"))
        yield file.LOADER(file, file.contents)


def _settled(path: Path) -> dict[str, Any]:
    """DVC's lock file, not while DVC writes it: it empties the file first, and half of it is YAML as well."""
    for _ in range(LOOKS):
        before = path.read_bytes()
        if abs(time.time() - path.stat().st_mtime) > SETTLED_SECONDS:
            break
        time.sleep(LOOK_SECONDS)
        if before and path.read_bytes() == before:
            break
    return read(path)


def _stage(stage: Any, settings: Mapping[str, Any], root: Path) -> Stage:
    from dvc.dependency import ParamsDependency

    noun, _, dataset = stage.name.partition("@")
    if not dataset:
        raise SettingError(
            f"the stage {noun} is of no dataset", where="dvc.yaml", mend='give it matrix: {dataset: "${datasets}"}'
        )
    files = [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]
    code = {dep.def_path: _hash(dep) for dep in files if not dep.def_path.startswith(DATA)}
    keys = {dep.def_path: list(dep.params) for dep in stage.deps if isinstance(dep, ParamsDependency)}
    asked = keys.pop(record.FILE, [])
    params = [key for names in keys.values() for key in names]
    cmd = stage.cmd if isinstance(stage.cmd, str) else " && ".join(stage.cmd)
    values = {key: value_at(settings, key) for key in params}
    fingerprint = (record.recorded(root, *asked[0].split(".")) or {}) if asked else {}
    return Stage(
        noun=noun,
        dataset=dataset,
        address=stage.name,
        cmd=cmd,
        desc=stage.desc or "",
        deps=tuple(dep.def_path for dep in files if dep.def_path.startswith(DATA)),
        code=tuple(code),
        params=tuple(params),
        outs=tuple(out.def_path for out in stage.outs),
        meta=dict((stage.meta or {}).get("dagster", {})),
        code_version=_code_version(cmd, values, code, fingerprint),
        fingerprint=fingerprint,
    )


def _locked(stage: Stage, entry: Mapping[str, Any], root: Path) -> Locked:
    deps = {dep["path"]: dep["md5"] for dep in entry.get("deps", [])}
    outs = {out["path"]: out["md5"] for out in entry.get("outs", [])}
    files = dict(entry.get("params", {}))
    fingerprint: dict[str, Any] = next(iter(files.pop(record.FILE, {}).values()), {})
    params = {key: value for file in files.values() for key, value in file.items()}
    cmd = entry["cmd"] if isinstance(entry["cmd"], str) else " && ".join(entry["cmd"])
    code = {path: md5 for path, md5 in deps.items() if path in stage.code}
    return Locked(
        data_version=_joined([outs[path] for path in stage.outs if path in outs]),
        code_version=_code_version(cmd, params, code, fingerprint),
        deps={path: md5 for path, md5 in deps.items() if path in stage.deps},
        outs=outs,
        fingerprint=fingerprint,
        kept=any(run_mode.kept(root / path) for path in stage.outs),
    )


def _code_version(cmd: str, params: Mapping[str, Any], code: Mapping[str, str], fingerprint: Mapping[str, Any]) -> str:
    told = json.dumps([cmd, params, code, fingerprint], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def _joined(hashes: Sequence[str]) -> str:
    """One hash as it is, several as the hash of their list."""
    return hashes[0] if len(hashes) == 1 else hashlib.md5("\n".join(hashes).encode()).hexdigest()


def _hash(dep: Any) -> str:
    return str(dep.get_hash().value) if dep.exists else "missing"


def value_at(settings: Mapping[str, Any], key: str) -> Any:
    """A setting by its dotted key.

    Raises:
        SettingError: there is none.
    """
    value: Any = settings
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise SettingError(f"no setting {key!r}", where="params.yaml, asked for by dvc.yaml", mend="add it")
        value = value[part]
    return value


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
