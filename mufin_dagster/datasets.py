"""`mufin add`: a catalogue checked, copied, given to DVC and registered, or nothing of all that."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from mufin_dagster import params, versioning
from mufin_model.artefacts import CATALOG, Workspace
from mufin_model.config import read
from mufin_model.errors import CatalogError, DatasetError

NAME = re.compile(r"[a-z][a-z0-9_]*")


def add(workspace: Workspace, name: str, path: Path) -> None:
    """Register a dataset.

    Args:
        workspace: the project.
        name: small letters, digits and underscores.
        path: a folder in any format that mufin_model/catalog/readers knows.

    Raises:
        DatasetError: the name is taken or not allowed.
        CatalogError: there is nothing at `path`, or it breaks a rule of the catalogue.
        VersioningError: DVC refused it. Whatever fails, nothing is left behind.
    """
    _allowed(workspace, name)
    if not path.is_dir():
        raise CatalogError("there is no such folder", where=str(path), mend="give the folder that holds the catalogue")
    _check(workspace, path)
    catalog = workspace.catalog(name)
    made = not workspace.dataset(name).exists()
    try:
        copy(path, catalog)
        versioning.dvc(workspace.root, "add", str(catalog.relative_to(workspace.root)))
        params.register(workspace, name)
    except BaseException:
        forget(catalog)
        if made:
            shutil.rmtree(workspace.dataset(name), ignore_errors=True)
        raise


def copy(source: Path, catalog: Path) -> None:
    """Copy a folder; its new name appears when it is complete."""
    catalog.parent.mkdir(parents=True, exist_ok=True)
    aside = catalog.with_name(f".{CATALOG}.{os.getpid()}")
    try:
        shutil.copytree(source, aside)
        os.rename(aside, catalog)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def forget(catalog: Path) -> None:
    """Remove a catalogue and DVC's pointer to it."""
    shutil.rmtree(catalog, ignore_errors=True)
    catalog.with_name(f"{CATALOG}.dvc").unlink(missing_ok=True)


def _allowed(workspace: Workspace, name: str) -> None:
    if not NAME.fullmatch(name):
        raise DatasetError(
            f"{name!r} is no name for a dataset", mend="small letters, digits and underscores, a letter first"
        )
    if name in (read(workspace.params).get("datasets") or []) or workspace.catalog(name).exists():
        raise DatasetError(
            f"there is a dataset {name!r} already",
            where=str(workspace.dataset(name)),
            mend="choose another name; to replace its catalogue, change the files there and materialize again",
        )


def _check(workspace: Workspace, path: Path) -> None:
    """The checks that `mufin ingest` begins with, before gigabytes are copied."""
    from mufin_model.catalog import readers, schema

    schema.check(readers.read(path, str(read(workspace.params)["ingest"]["format"])))
