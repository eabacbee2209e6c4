"""What travels to a DVC remote when a catalogue grows by one per cent.

    python -m benchmarks.growth --items 5000

Draws images (noise under a coarse pattern, so that they compress as photographs do), adds the catalogue to a project of
its own, ingests, pushes to a folder; then again with one per cent more items, appended or scattered among the others.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from PIL import Image

from mufin_dagster import datasets, versioning
from mufin_model.artefacts import Workspace

REPOSITORY = Path(__file__).parents[1]
SIDE = 96
"""Pixels of an original."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=5000)
    items = parser.parse_args().items
    print(
        "| grown by 1 % | originals travel | thumbnails travel | tables travel | originals / thumbnails / tables hold |"
    )
    print("|---|--:|--:|--:|--:|")
    for kind in ("appended", "scattered"):
        with tempfile.TemporaryDirectory() as folder:
            print(f"| {kind} | {measure(Path(folder), items, kind)} |", flush=True)


def measure(folder: Path, items: int, kind: str) -> str:
    """Push a catalogue, grow it, push again; the bytes that were new in the remote, by what they belong to."""
    root, remote = folder / "project", folder / "remote"
    project(root, remote)
    workspace = Workspace(root)
    order = list(range(items))
    version(workspace, draw(folder / "given", order))
    versioning.dvc(root, "push", "-q")
    before = held(remote)
    new = list(range(items, items + items // 100))
    grown = [*order, *new]
    if kind == "scattered":
        for row, place in zip(new, np.sort(np.random.default_rng(0).integers(0, items, len(new)))[::-1], strict=True):
            order.insert(int(place), row)
        grown = order
    shutil.rmtree(folder / "given")
    version(workspace, draw(folder / "given", grown))
    versioning.dvc(root, "push", "-q")
    sent = held(remote).keys() - before.keys()
    told, whole = [], []
    for belongs in (
        lambda path: path.startswith("catalog/images.parquet"),
        lambda path: path.startswith("raw_descriptors/images"),
        lambda path: not path.startswith(("catalog/images.parquet", "raw_descriptors/images")),
    ):
        sizes = {path: size for path, (_, size) in files(workspace).items() if belongs(path)}
        moved = sum(size for path, (md5, size) in files(workspace).items() if belongs(path) and md5 in sent)
        total = max(1, sum(sizes.values()))
        told.append(f"{moved / 1e6:,.2f} MB ({100 * moved / total:.1f} %)")
        whole.append(f"{total / 1e6:,.1f}")
    return " | ".join([*told, f"{' / '.join(whole)} MB"])


def project(root: Path, remote: Path) -> None:
    """A repository whose pipeline has the stage raw_descriptors alone."""
    root.mkdir()
    for file in (".gitignore", ".dvcignore"):
        shutil.copy(REPOSITORY / file, root / file)
    settings = (REPOSITORY / "params.yaml").read_text().split("per_dataset:")[0].replace("  - demo\n", "  - other\n")
    (root / "params.yaml").write_text(f"{settings}per_dataset:\n  other: {{ingest: {{}}}}\n")
    stage = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]["raw_descriptors"]
    stage["deps"] = ["data/${item.dataset}/catalog"]
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"raw_descriptors": stage}}))
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    versioning.dvc(root, "init", "-q")
    versioning.dvc(root, "remote", "add", "-d", "folder", str(remote))


def version(workspace: Workspace, given: Path) -> None:
    datasets.add(workspace, "shop", given, replace=True)
    subprocess.run(
        ["mufin", "ingest", "--dataset", "shop"],
        cwd=workspace.root,
        env=versioning.environment(workspace.root),
        stdout=subprocess.DEVNULL,
        check=True,
    )


def draw(folder: Path, rows: list[int]) -> Path:
    """A catalogue of items with one picture each, packed."""
    folder.mkdir()
    ids = [f"P{row:07d}" for row in rows]
    paths = [f"images/{id_}.jpg" for id_ in ids]
    texts = [f"product {np.random.default_rng(row).integers(0, 10**9)}" for row in rows]
    pl.DataFrame({"id": ids, "text": texts, "image_paths": [[path] for path in paths]}).write_parquet(
        folder / "items.parquet"
    )
    labels = {"id": [f"L{row}" for row in range(100)], "text": [f"kind {row}" for row in range(100)]}
    pl.DataFrame(labels).write_parquet(folder / "labels.parquet")
    for name, chosen in (("train", rows[::2]), ("test", rows[1::2])):
        links = {"item_id": [f"P{row:07d}" for row in chosen], "label_id": [f"L{row % 100}" for row in chosen]}
        pl.DataFrame(links).write_parquet(folder / f"{name}.parquet")
    pl.DataFrame({"path": paths, "bytes": [photo(row) for row in rows]}).write_parquet(folder / "images.parquet")
    return folder


def photo(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((SIDE, SIDE))
    noisy = np.asarray(coarse, np.int16) + rng.integers(-12, 13, (SIDE, SIDE, 3))
    out = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=85)
    return out.getvalue()


def held(remote: Path) -> dict[str, int]:
    """Size of each object of a remote, by MD5."""
    found = (path for path in (remote / "files" / "md5").rglob("*") if path.is_file())
    return {path.parent.name + path.name: path.stat().st_size for path in found}


def files(workspace: Workspace) -> dict[str, tuple[str, int]]:
    """MD5 and size of each file of the dataset's present version."""
    from mufin_dagster.data_objects import objects

    found = objects(workspace, None)
    return {path.removeprefix("data/shop/"): (md5, os.path.getsize(found.at(md5))) for path, md5 in found.files.items()}


if __name__ == "__main__":
    main()
