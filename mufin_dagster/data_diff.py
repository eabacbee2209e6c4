"""What became other between two versions of a dataset: entities, links, images, and how far the data drifted.

    then, now = snapshot(workspace, "demo", commit), snapshot(workspace, "demo", None)
    compare(then, now).items.added

Read from raw_descriptors, through DVC's cache or remote; nothing in the project changes. Of the images only those in
chunks that one version alone has are read: all others are equal by the chunk's name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from mufin_dagster.data_objects import ensure
from mufin_dagster.data_versions import DESCRIPTORS, hashes
from mufin_dagster.drift import psi_of_frequencies, psi_of_values
from mufin_dagster.versioning import VersioningError
from mufin_model.artefacts import Workspace
from mufin_model.catalog.image_store import INDEX, digest
from mufin_model.catalog.links import ragged

TABLES = {"items": ("id", "text", "images", "split"), "labels": ("id", "text", "images", "zero_shot")}


@dataclass(frozen=True)
class Snapshot:
    """A version's tables, the names and sizes of its image chunks, and where they lie."""

    items: pl.DataFrame
    labels: pl.DataFrame
    links: pl.DataFrame
    chunks: Sequence[tuple[str, int]]
    locate: Callable[[Sequence[str]], list[Path]]
    """Chunks' names to their files, which are fetched where need be."""


@dataclass(frozen=True)
class Change:
    """How many of a kind there were and are, were added, removed and changed; `why` counts what changed in them."""

    then: int
    now: int
    added: int
    removed: int
    changed: int
    why: dict[str, int]


@dataclass(frozen=True)
class Drift:
    """A figure then and now, and the population stability index of the distribution behind it, where there is one."""

    name: str
    then: float
    now: float
    psi: float | None = None


@dataclass(frozen=True)
class Difference:
    """All that `compare` finds."""

    items: Change
    labels: Change
    links: Change
    images: Change
    drift: list[Drift]


def snapshot(workspace: Workspace, dataset: str, commit: str | None) -> Snapshot:
    """A dataset as a commit has it, or as it lies in the project (None).

    Raises:
        ArtefactError: it was not ingested here.
        VersioningError: the version has no raw_descriptors of it.
        CacheError: they are damaged or nowhere.
    """
    folder = f"data/{dataset}/{DESCRIPTORS}"
    if commit is not None and hashes(workspace.root, commit, dataset)[1] is None:
        raise VersioningError(
            f"commit {commit[:10]} has no {DESCRIPTORS} of {dataset}",
            where="dvc.lock",
            mend=f"`mufin data history -d {dataset}` lists the versions that have",
        )
    names = [f"{folder}/{name}.parquet" for name in (*TABLES, "links")] + [f"{folder}/images/{INDEX}"]

    def locate(paths: Sequence[str]) -> list[Path]:
        if commit is None:
            workspace.read(dataset, DESCRIPTORS)
            return [workspace.root / path for path in paths]
        found = ensure(workspace, commit, paths)
        return [found.held(path) for path in paths]

    items, labels, links, index = locate(names)
    return Snapshot(
        items=_table(items, "items"),
        labels=_table(labels, "labels"),
        links=pl.read_parquet(links, columns=["item", "label", "split"]).with_columns(_split()),
        chunks=[(str(name), int(rows)) for name, rows in json.loads(index.read_bytes())["chunks"]],
        locate=lambda chunks: locate([f"{folder}/images/{name}.arrow" for name in chunks]) if chunks else [],
    )


def compare(then: Snapshot, now: Snapshot) -> Difference:
    """What was added, removed and changed; entities by id, links by their two ids, images by content."""
    shared = {name for name, _ in then.chunks} & {name for name, _ in now.chunks}
    images = [_image_ids(one, shared) for one in (then, now)]
    return Difference(
        items=_entities(_bags(then.items, images[0]), _bags(now.items, images[1])),
        labels=_entities(_bags(then.labels, images[0]), _bags(now.labels, images[1])),
        links=_links(then, now),
        images=Change(
            then=len(images[0]),
            now=len(images[1]),
            added=len(np.setdiff1d(images[1], images[0])),
            removed=len(np.setdiff1d(images[0], images[1])),
            changed=0,
            why={},
        ),
        drift=_drift(then, now),
    )


def _split() -> pl.Expr:
    """Which training items are held out for validation is drawn anew for each version: no change of the data."""
    return pl.col("split").cast(pl.String).replace({"val": "train"})


def _table(file: Path, name: str) -> pl.DataFrame:
    table = pl.read_parquet(file, columns=list(TABLES[name]))
    return table.with_columns(_split()) if name == "items" else table


def _image_ids(version: Snapshot, shared: set[str]) -> np.ndarray:
    """For each image a number that two images share if their content is equal, uint64 [images]."""
    own = [name for name, _ in version.chunks if name not in shared]
    files = dict(zip(own, version.locate(own), strict=True))
    ids = []
    for name, rows in version.chunks:
        if name in shared:
            keys = [digest(f"{name}/{place}".encode()) for place in range(rows)]
        else:
            keys = [digest(data.as_py()) for data in pa.ipc.open_file(str(files[name])).get_batch(0).column(0)]
        ids += [int.from_bytes(key[:8], "little") for key in keys]
    return np.array(ids, np.uint64)


def _bags(table: pl.DataFrame, images: np.ndarray) -> pl.DataFrame:
    """The table with `images` as one number a bag: the sum, modulo 2^64, of its images' numbers."""
    offsets, rows = ragged(table["images"])
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(images[rows], dtype=np.uint64)])
    return table.with_columns(images=pl.Series(sums[offsets[1:]] - sums[offsets[:-1]], dtype=pl.UInt64))


def _entities(then: pl.DataFrame, now: pl.DataFrame) -> Change:
    columns = [column for column in then.columns if column != "id"]
    both = then.join(now, on="id", suffix="_now")
    differs = both.select(pl.col(column).ne_missing(pl.col(f"{column}_now")) for column in columns)
    changed = int(differs.select(pl.any_horizontal(pl.all())).to_series().sum())
    why = {column: int(differs[column].sum()) for column in columns if differs[column].any()}
    return Change(then.height, now.height, now.height - both.height, then.height - both.height, changed, why)


def _links(then: Snapshot, now: Snapshot) -> Change:
    items, labels = (
        pl.concat([getattr(then, kind)["id"], getattr(now, kind)["id"]]).unique(maintain_order=True)
        for kind in ("items", "labels")
    )

    def coded(version: Snapshot) -> pl.DataFrame:
        item = _codes(version.items["id"], items)[version.links["item"].to_numpy()]
        label = _codes(version.labels["id"], labels)[version.links["label"].to_numpy()]
        return pl.DataFrame({"pair": item * max(1, len(labels)) + label, "split": version.links["split"]}).unique(
            "pair", keep="first"
        )

    before, after = coded(then), coded(now)
    both = before.join(after, on="pair", suffix="_now")
    moved = int((both["split"] != both["split_now"]).sum())
    why = {"split": moved} if moved else {}
    return Change(before.height, after.height, after.height - both.height, before.height - both.height, moved, why)


def _codes(ids: pl.Series, among: pl.Series) -> np.ndarray:
    places = pl.DataFrame({"id": among}).with_row_index("code")
    return (
        ids.to_frame("id").join(places, on="id", how="left", maintain_order="left")["code"].to_numpy().astype(np.int64)
    )


def _drift(then: Snapshot, now: Snapshot) -> list[Drift]:
    labels = pl.concat([then.labels["id"], now.labels["id"]]).unique(maintain_order=True)
    frequency = [_frequency(one, labels) for one in (then, now)]
    trained = [one[one > 0] for one in frequency]
    found = [
        Drift("training items a label", _mean(trained[0]), _mean(trained[1]), psi_of_frequencies(*frequency)),
    ]
    for kind in ("items", "labels"):
        tables = [getattr(one, kind) for one in (then, now)]
        lengths = [_lengths(table) for table in tables]
        moved = psi_of_values(lengths[0], lengths[1])
        found.append(Drift(f"characters a text, {kind}", _mean(lengths[0]), _mean(lengths[1]), moved))
        for what, missing in (
            ("text", pl.col("text").str.strip_chars() == ""),
            ("images", pl.col("images").list.len() == 0),
        ):
            shares = [float(table.select(missing.mean()).item() or 0) for table in tables]
            found.append(Drift(f"share of {kind} without {what}", shares[0], shares[1]))
    return found


def _frequency(version: Snapshot, labels: pl.Series) -> np.ndarray:
    """Training links of each label of `labels`, int64 [labels]."""
    trained = version.links.filter(pl.col("split") == "train")["label"].to_numpy()
    return np.bincount(_codes(version.labels["id"], labels)[trained], minlength=len(labels))


def _lengths(table: pl.DataFrame) -> np.ndarray:
    """Characters of each text that is not empty."""
    lengths = table["text"].str.len_chars().to_numpy()
    return lengths[lengths > 0]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0
