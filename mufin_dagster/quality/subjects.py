"""What `mufin validate` judges: the project's datasets as they lie there, a folder, or the catalogues of a version.

A catalogue is ingested into a temporary place and judged there; what keeps it from being ingested is a result too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from mufin_dagster.quality import result, rules
from mufin_dagster.quality.result import Fault, Portrait, Suite
from mufin_model import config
from mufin_model.artefacts import CATALOG, NOUNS, Workspace
from mufin_model.errors import ArtefactError, CatalogError, MufinError, SeveralErrors

RAW = NOUNS["ingest"]
RELEASED = NOUNS["release"]

Keep = Callable[[str, str, str, Any], None]
"""Is given dataset, artefact, table and Great Expectations' own report of each table."""


@dataclass(frozen=True)
class How:
    """How a catalogue is judged.

    Attributes:
        overrides: of the settings by which it is ingested, as `ingest.format=xc`.
        encode: run the backbones over it too, and judge the vectors.
        keep: is given Great Expectations' own reports.
    """

    overrides: Sequence[str] = ()
    encode: bool = False
    keep: Keep | None = None


@dataclass
class Judged:
    """What is gathered, dataset by dataset."""

    suites: list[Suite] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    portraits: list[Portrait] = field(default_factory=list)


def project(workspace: Workspace, datasets: Sequence[str], how: How) -> Judged:
    """Every artefact there is of the project's datasets; of one without any, its catalogue.

    Raises:
        DatasetError: one of the datasets is not registered.
        ArtefactError: there is nothing to judge at all.
    """
    judged = Judged()
    for name in config.datasets(workspace.params, datasets):
        if any(workspace.path(name, noun).is_dir() for noun in rules.nouns()):
            _artefacts(judged, workspace, name, how.keep)
        elif workspace.catalog(name).is_dir():
            shown = f"data/{name}/{CATALOG}"
            _ingested(judged, workspace, name, workspace.catalog(name), shown, workspace.params, how)
        else:
            error = ArtefactError(
                "there is nothing to judge yet: no catalogue and no artefact",
                where=str(workspace.dataset(name)),
                mend=f"`dvc pull data/{name}/{CATALOG}` fetches it, `mufin add {name} PATH` brings it",
            )
            judged.faults.append(result.fault(name, error, rules.WARNING))
    if not judged.suites and all(fault.severity == rules.WARNING for fault in judged.faults):
        raise ArtefactError(
            "no artefact to judge yet", where=str(workspace.root / "data"), mend="mufin ingest --dataset NAME"
        )
    return judged


def folder(workspace: Workspace, path: Path, dataset: str | None, how: How) -> Judged:
    """A catalogue that need not be the project's.

    Args:
        workspace: the project, whose settings count.
        path: the catalogue, in any format that is read.
        dataset: judged as the next version of this one: with its settings, and for drift against its release.
        how: to judge it.

    Raises:
        CatalogError: there is no such folder.
        DatasetError: the dataset is not registered.
    """
    if not path.is_dir():
        raise CatalogError("there is no such folder", where=str(path), mend="give the folder that holds the catalogue")
    if dataset is not None:
        config.datasets(workspace.params, [dataset])
    judged = Judged()
    name = dataset or re.sub(r"\W+", "_", path.resolve().name).strip("_") or CATALOG
    _ingested(judged, workspace, name, path, str(path), workspace.params, how)
    return judged


def revision(workspace: Workspace, rev: str, datasets: Sequence[str], how: How) -> Judged:
    """The catalogues of a version, by its settings, for drift against the present release.

    Raises:
        VersioningError: there is no such commit.
        DatasetError: the version has no such dataset.
    """
    from mufin_dagster.data_versions import resolve, text_at

    commit = resolve(workspace.root, rev)
    judged = Judged()
    with _temporary(workspace) as folder:
        params = folder / "params.yaml"
        params.write_text(text_at(workspace.root, commit, "params.yaml") or workspace.params.read_text())
        for name in config.datasets(params, datasets):
            try:
                catalog = _placed(workspace, commit, name, folder)
            except MufinError as error:
                judged.faults.append(result.fault(name, error))
            else:
                shown = f"data/{name}/{CATALOG}"
                _ingested(judged, workspace, name, catalog, shown, params, how)
                shutil.rmtree(catalog)
    return judged


def _artefacts(judged: Judged, workspace: Workspace, name: str, keep: Keep | None) -> None:
    """Judge each artefact that exists; a damaged file fails its expectations."""
    from mufin_dagster.quality.frames import Source
    from mufin_dagster.quality.portrait import portrait
    from mufin_dagster.quality.validator import validate

    source = Source(workspace, name)
    for noun in rules.nouns():
        if not workspace.path(name, noun).is_dir():
            continue
        began = time.monotonic()
        tell = None if keep is None else lambda table, report, noun=noun: keep(name, noun, table, report)
        outcomes = validate(workspace, name, noun, keep=tell)
        judged.suites.append(result.suite(source, noun, outcomes, time.monotonic() - began))
        if noun == RAW:
            try:
                judged.portraits.append(portrait(source))
            except Exception:  # damage that the expectations just told of
                continue


def _ingested(
    judged: Judged, workspace: Workspace, name: str, catalog: Path, shown: str, params: Path, how: How
) -> None:
    """Ingest a catalogue into a temporary place and judge what it leaves; errors call the catalogue `shown`."""
    from mufin_model.catalog import ingest
    from mufin_model.catalog.faults import gathered

    with _temporary(workspace) as root:
        place = Workspace(root)
        place.params.write_text(_only(params, name))
        place.dataset(name).mkdir(parents=True)
        place.catalog(name).symlink_to(catalog.resolve())
        if (released := workspace.path(name, RELEASED)).is_dir():
            place.path(name, RELEASED).symlink_to(released.resolve())
        try:
            settings = config.load(place.params, name, how.overrides)
            with gathered():
                ingest.run(place, name, settings)
            if how.encode:
                from mufin_model.encoders import encode  # and with it torch

                encode.run(place, name, settings)
        except (Exception, pl.exceptions.PanicException) as error:  # whatever a catalogue brings about is its result
            for one in error.errors if isinstance(error, SeveralErrors) else [error]:
                told = result.fault(name, one).model_dump_json()
                # The catalogue is known by its own place, not by the temporary one.
                for at in (place.catalog(name), catalog.resolve()):
                    told = told.replace(json.dumps(str(at))[1:-1], json.dumps(shown)[1:-1])
                judged.faults.append(Fault.model_validate_json(told))
            return
        _artefacts(judged, place, name, how.keep)


def _only(params: Path, name: str) -> str:
    """params.yaml with this dataset, which need not be registered, as its only one."""
    return yaml.safe_dump(config.read(params) | {"datasets": [name]}, sort_keys=False)


@contextmanager
def _temporary(workspace: Workspace) -> Iterator[Path]:
    """A folder beside DVC's cache, as large as the data may be; the system's where there is no DVC."""
    tmp = workspace.root / ".dvc" / "tmp"
    with tempfile.TemporaryDirectory(prefix="validate.", dir=tmp if tmp.parent.is_dir() and _made(tmp) else None) as at:
        yield Path(at)


def _made(folder: Path) -> bool:
    folder.mkdir(exist_ok=True)
    return True


def _placed(workspace: Workspace, commit: str, name: str, folder: Path) -> Path:
    """A version's catalogue, its files linked from DVC's cache.

    Raises:
        CatalogError: the version has none.
        CacheError: it is damaged, or neither in the cache nor in the remote.
    """
    from mufin_dagster.data_objects import ensure
    from mufin_dagster.data_versions import pointer, text_at

    if text_at(workspace.root, commit, pointer(name)) is None:
        raise CatalogError(
            f"commit {commit[:10]} has no catalogue of {name}",
            where=pointer(name),
            mend=f"`mufin data history -d {name}` lists the versions that have",
        )
    held = f"data/{name}/{CATALOG}"
    found = ensure(workspace, commit, [held])
    target = folder / name / CATALOG
    for path in found.within(held):
        file = target / path.removeprefix(f"{held}/")
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(found.held(path), file)
        except OSError:  # another file system
            shutil.copyfile(found.held(path), file)
    return target
