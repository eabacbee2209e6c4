"""The stage `release`: released_model, all that serving loads, in one folder that can be copied anywhere.

pretrained_model/, anns_index/, finetuned_classifiers/   as their stages left them
raw_descriptors/     the tables (items, labels, links, filters) without the images
labels.parquet       id, text, zero_shot: row l is label l everywhere
fusion.json          weights of the final score
settings.json        every setting of the run
model_card.md        what it is, how good, where its limits are, how to load it
manifest.json        MD5 and bytes of each file, and the metrics

Inference code that reads these nouns reads them here as well: the sub-folders are those of `data/<dataset>/`.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import polars as pl

from mufin_model.artefacts import Workspace, read_json, write_json
from mufin_model.config import Settings
from mufin_model.errors import ArtefactError
from mufin_model.progress import say
from mufin_model.release.card import card

NOUNS = ("pretrained_model", "anns_index", "finetuned_classifiers")
"""Copied whole."""

TABLES = ("items.parquet", "labels.parquet", "links.parquet", "filters.parquet", "summary.json")
"""Of raw_descriptors. The neighbour score looks up training items; their images are not needed for it."""

CURVE = "loss.csv"
"""Left out: of interest to the report alone."""


def run(workspace: Workspace, dataset: str, settings: Settings) -> None:
    """Write released_model.

    Raises:
        ArtefactError: an earlier artefact is missing or incomplete.
    """
    sources = {noun: workspace.read(dataset, noun) for noun in NOUNS}
    tables, predictions = workspace.read(dataset, "raw_descriptors"), workspace.read(dataset, "predictions")
    metrics = read_json(workspace.read(dataset, "eval_report") / "metrics.json")
    with workspace.write(dataset, "released_model") as folder:
        for noun, source in sources.items():
            shutil.copytree(source, folder / noun, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns(CURVE))
        (folder / "raw_descriptors").mkdir()
        for name in TABLES:
            _copy(tables / name, folder / "raw_descriptors" / name)
        _copy(predictions / "fusion.json", folder / "fusion.json")
        labels = pl.read_parquet(tables / "labels.parquet", columns=["id", "text", "zero_shot"])
        labels.write_parquet(folder / "labels.parquet")
        write_json(folder / "settings.json", settings.model_dump(mode="json"))
        summary = read_json(tables / "summary.json")
        (folder / "model_card.md").write_text(card(dataset, settings, summary, metrics, labels), encoding="utf-8")
        files = manifest(folder)
        write_json(folder / "manifest.json", {"dataset": dataset, "files": files, "metrics": metrics["mufin"]})
    size = sum(int(file["bytes"]) for file in files.values())
    say(f"released {dataset}: {len(files):,} files, {size / 1e6:,.1f} MB")


def manifest(folder: Path) -> dict[str, dict[str, str | int]]:
    """MD5 and size of each file under a folder but manifest.json, by its path within it."""
    return {
        path.relative_to(folder).as_posix(): {"md5": _md5(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / "manifest.json"
    }


def verify(folder: Path) -> None:
    """Hold a released model against its manifest.

    Raises:
        ArtefactError: files are missing, changed or not listed.
    """
    listed, found = read_json(folder / "manifest.json")["files"], manifest(folder)
    differing = sorted(name for name in listed.keys() | found.keys() if listed.get(name) != found.get(name))
    if differing:
        raise ArtefactError(
            f"{len(differing):,} files differ from the manifest",
            where=str(folder),
            rows=differing,
            mend="fetch it again, or run mufin release",
        )


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise ArtefactError(
            f"cannot copy it: {error.strerror}", where=str(source), mend="run its stage again"
        ) from error


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
