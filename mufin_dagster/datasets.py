"""`mufin add`: a catalogue checked, copied, given to DVC and registered, or nothing of all that."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from mufin_dagster import params, versioning
from mufin_model import owners
from mufin_model.artefacts import CATALOG, Workspace, disk, swap
from mufin_model.config import Settings, load, read
from mufin_model.errors import CatalogError, DatasetError

NAME = re.compile(r"[a-z][a-z0-9_]*")


def add(workspace: Workspace, name: str, path: Path, replace: bool = False, overrides: Sequence[str] = ()) -> None:
    """Register a dataset, or give one a new version of its catalogue.

    Args:
        workspace: the project.
        name: small letters, digits and underscores.
        path: a folder in any format that mufin_model/catalog/readers knows.
        replace: the dataset may exist; its catalogue is replaced.
        overrides: settings such as `ingest.weight_column=rating`; kept in params.yaml for this dataset.

    Raises:
        DatasetError: the name is taken or not allowed.
        SettingError: an override is wrong.
        CatalogError: there is nothing at `path`, or it breaks a rule of the catalogue; SeveralErrors: several.
        DiskError: there is no room for it.
        VersioningError: DVC refused it. Whatever fails, nothing is left behind and the earlier catalogue stays.
    """
    if not NAME.fullmatch(name):
        raise DatasetError(
            f"{name!r} is no name for a dataset", mend="small letters, digits and underscores, a letter first"
        )
    if not path.is_dir():
        raise CatalogError("there is no such folder", where=str(path), mend="give the folder that holds the catalogue")
    with versioning.exclusive(workspace.root, f"add.{name}"):
        if not replace:
            _free(workspace, name)
        _check(path, load(workspace.params, name, overrides, new=True))
        _add(workspace, name, path, overrides)


def _add(workspace: Workspace, name: str, path: Path, overrides: Sequence[str]) -> None:
    catalog = workspace.catalog(name)
    pointer = catalog.with_name(f"{CATALOG}.dvc")
    told = pointer.read_bytes() if pointer.is_file() else None
    made = not workspace.dataset(name).exists()
    catalog.parent.mkdir(parents=True, exist_ok=True)
    for left in catalog.parent.glob(f".{CATALOG}.*"):
        shutil.rmtree(left, ignore_errors=True)  # of an add that was killed: this one holds the lock
    aside = catalog.with_name(f".{CATALOG}.{owners.token()}")
    placed = False
    try:
        with disk(catalog):
            _copy(path, aside)
        swap(aside, catalog)  # an earlier catalogue now lies in `aside`
        placed = True
        versioning.record_catalog(workspace, name)
        if name not in (read(workspace.params).get("datasets") or []):
            params.register(workspace, name)
        if overrides:
            params.override(workspace, name, overrides)
    except BaseException:
        if placed and aside.is_dir():
            swap(aside, catalog)
        elif placed:
            shutil.rmtree(catalog, ignore_errors=True)
        if told is not None:
            pointer.write_bytes(told)
        else:
            pointer.unlink(missing_ok=True)
        if made:
            shutil.rmtree(workspace.dataset(name), ignore_errors=True)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    """Copy a catalogue; packed images become several files, so that a later version adds only the new ones."""
    from mufin_model.catalog.packed import FILE, split

    packed = source / FILE
    left_out = shutil.ignore_patterns(FILE) if packed.is_file() else None
    shutil.copytree(source, target, ignore=left_out)
    if packed.is_file():
        split(packed, target / FILE)


def _free(workspace: Workspace, name: str) -> None:
    registered = name in (read(workspace.params).get("datasets") or [])
    if registered or workspace.catalog(name).exists():
        raise DatasetError(
            f"there is a dataset {name!r} already"
            if registered
            else f"there is a catalogue of {name!r} already, registered nowhere: an earlier `mufin add` was killed",
            where=str(workspace.dataset(name)),
            mend="choose another name; --replace gives it this catalogue, as a new version",
        )


def _check(path: Path, settings: Settings) -> None:
    """The checks that `mufin ingest` begins with, before gigabytes are copied."""
    from mufin_model.catalog import distrust, ingest, readers, schema
    from mufin_model.catalog.faults import gathered

    distrust.survey(path)
    with gathered():
        schema.check(readers.read(path, settings.ingest.format), ingest.rules(settings))
