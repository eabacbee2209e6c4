"""A release's folder, packed from the artefacts: equal artefacts give equal bytes, so a hash of them is its name.

pretrained_model/, anns_index/, finetuned_classifiers/   as their stages left them
raw_descriptors/     the tables (items, labels, links, filters) without the images
labels.parquet       id, text, zero_shot: row l is label l everywhere
fusion.json          weights of the final score
test_scores.npz      CSR float32 [n_test, n_seen]: what is served for each test item, for the gate to compare
settings.json        every setting of the run but those of the gate, which make no other release of the same model
model_card.md        what it is, how good, where its limits are, how to load it
manifest.json        name, MD5 and bytes of each file, figures, provenance

Inference code that reads these nouns reads them here as well: the sub-folders are those of `data/<dataset>/`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from mufin_model.arrays import read_sparse
from mufin_model.artefacts import Workspace, read_json, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.gate_items import gate_items
from mufin_model.config import Settings
from mufin_model.errors import ArtefactError
from mufin_model.evaluation.metrics import evaluate_scores, without
from mufin_model.inference.candidates import top_of_rows
from mufin_model.release.card import card
from mufin_model.release.provenance import provenance

NOUNS = ("pretrained_model", "anns_index", "finetuned_classifiers")
"""Copied whole."""

TABLES = ("items.parquet", "labels.parquet", "links.parquet", "filters.parquet", "summary.json")
"""Of raw_descriptors. The neighbour score looks up training items; their images are not needed for it."""

CURVE = "loss.csv"
"""Left out: of interest to the report alone."""

MANIFEST, VERDICT, SCORES, FUSION = "manifest.json", "verdict.json", "test_scores.npz", "fusion.json"

DEPTH = 10
"""Labels kept of each test item: as far as the gate's metrics look."""


def pack(workspace: Workspace, dataset: str, settings: Settings, folder: Path) -> str:
    """Fill a folder with a release.

    Returns:
        its name: twelve digits of a hash of all its files but the manifest.

    Raises:
        ArtefactError: an earlier artefact is missing or incomplete.
    """
    sources = {noun: workspace.read(dataset, noun) for noun in NOUNS}
    tables, predictions = workspace.read(dataset, "raw_descriptors"), workspace.read(dataset, "predictions")
    metrics = read_json(workspace.read(dataset, "eval_report") / "metrics.json")
    for noun, source in sources.items():
        shutil.copytree(source, folder / noun, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns(CURVE))
    (folder / "raw_descriptors").mkdir()
    for name in TABLES:
        _copy(tables / name, folder / "raw_descriptors" / name)
    labels = pl.read_parquet(tables / "labels.parquet", columns=["id", "text", "zero_shot"])
    labels.write_parquet(folder / "labels.parquet")
    write_json(folder / "settings.json", settings.model_dump(mode="json", exclude={"release"}))
    served = _scores(folder, predictions, settings.evaluate.gate_share)
    summary = read_json(tables / "summary.json")
    (folder / "model_card.md").write_text(card(dataset, settings, summary, metrics, served, labels), encoding="utf-8")
    files = manifest(folder)
    told = {"release": name_of(files), "dataset": dataset, "files": files, "metrics": metrics["mufin"]}
    write_json(
        folder / MANIFEST, told | {"served_metrics": served, "provenance": provenance(workspace, dataset, settings)}
    )
    return name_of(files)


def manifest(folder: Path) -> dict[str, dict[str, str | int]]:
    """MD5 and size of each file of a release, by its path within it; but of the manifest, and of what the gate said."""
    return {
        path.relative_to(folder).as_posix(): {"md5": md5(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path not in (folder / MANIFEST, folder / VERDICT)
    }


def name_of(files: Mapping[str, Mapping[str, str | int]]) -> str:
    """A release's name, by the files that its manifest lists."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:12]


def megabytes(folder: Path) -> float:
    """What a release's files take."""
    return sum(int(file["bytes"]) for file in read_json(folder / MANIFEST)["files"].values()) / 1e6


def verify(folder: Path) -> None:
    """Hold a release against its manifest.

    Raises:
        ArtefactError: files are missing, changed or not listed.
    """
    listed, found = read_json(folder / MANIFEST)["files"], manifest(folder)
    differing = sorted(name for name in listed.keys() | found.keys() if listed.get(name) != found.get(name))
    if differing:
        raise ArtefactError(
            f"{len(differing):,} files differ from the manifest",
            where=str(folder),
            rows=differing,
            mend="fetch it again, or run mufin release",
        )


def md5(path: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _scores(folder: Path, predictions: Path, gate_share: float) -> dict[str, float]:
    """Write what is served for the test items, and the weights that make it; its figures over the card's items."""
    catalog = Catalog.load(folder / "raw_descriptors")
    served = top_of_rows(read_sparse(predictions / "mufin.npz"), DEPTH)
    _copy(predictions / FUSION, folder / FUSION)
    sparse.save_npz(folder / SCORES, served)
    truth = without(catalog.links("test"), catalog.filters("test"))
    shown = ~gate_items(catalog, gate_share)
    told = evaluate_scores(served[shown], truth[shown], np.ones(catalog.n_seen), (1, 3, 5), (10,))
    return {name: round(value, 6) for name, value in told.items() if not name.startswith("PS")}


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise ArtefactError(
            f"cannot copy it: {error.strerror}", where=str(source), mend="run its stage again"
        ) from error


def released(folder: Path) -> dict[str, Any]:
    """A release's manifest; one from before releases had names is named by its files.

    Raises:
        ArtefactError: there is none.
    """
    told: dict[str, Any] = read_json(folder / MANIFEST)
    return {"release": name_of(told["files"]), **told}
