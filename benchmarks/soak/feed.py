"""What arrives during a soak: new versions of one catalogue, good ones, drifting ones, worse ones and broken ones."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from mufin_dagster.drops import READY, REFUSED, TAKING
from mufin_model.catalog import synthetic

Tables = dict[str, pl.DataFrame]

GROWTH = 0.04
"""Of the training items, in each version."""


@dataclass
class Arrival:
    """One version: its kind, where it was made, and how it was taken in; `refused` says why it was not."""

    kind: str
    made: Path
    pending: bool = True
    refused: str = ""


class Feed:
    """Catalogues cut out of one that is drawn once: the test items stay, the training items become more.

    Args:
        folder: to draw in.
        items: of the largest version.
        seed: of all that is random.
    """

    def __init__(self, folder: Path, items: int, seed: int) -> None:
        self.folder, self.made = folder, 0
        self.arrivals: list[Arrival] = []
        self.chance = np.random.default_rng(seed)
        synthetic.write(folder / "whole", items, seed)
        self.whole = {file.stem: pl.read_parquet(file) for file in sorted((folder / "whole").glob("*.parquet"))}

    def version(self, kind: str) -> Path:
        """Write the next version, of one of the KINDS; its folder."""
        tables = self._grown(0.6 + GROWTH * self.made)
        self.made += 1
        target = self.folder / f"{self.made:02d}-{kind}"
        target.mkdir()
        tables = KINDS[kind](tables, self.chance)
        for name, table in tables.items():
            table.write_parquet(target / f"{name}.parquet")
        if kind == "torn":
            file = target / "items.parquet"
            os.truncate(file, file.stat().st_size // 2)
        return target

    def drop(self, kind: str, folder: Path, dataset: str) -> None:
        """Copy the next version into a drop folder, as somebody would."""
        made = self.version(kind)
        shutil.copytree(made, folder / dataset)
        (folder / dataset / READY).touch()
        self.arrivals.append(Arrival(kind, made))

    def pending(self, folder: Path, dataset: str) -> bool:
        """Whether the last drop is yet to be taken in or refused."""
        last = self.arrivals[-1] if self.arrivals else None
        if last is None or not last.pending:
            return False
        last.pending = (folder / dataset).exists() or (folder / TAKING / dataset).exists()
        reason = folder / REFUSED / f"{dataset}.txt"
        if not last.pending and reason.is_file():
            last.refused = reason.read_text().splitlines()[0]
            reason.unlink()
        return last.pending

    def last_whole(self) -> Path:
        """The last version that was not refused at the door."""
        return next(one.made for one in reversed(self.arrivals) if not one.refused)

    def _grown(self, share: float) -> Tables:
        """All test items and the first training items, with the labels that these know."""
        items = self.whole["items"]
        train = items.filter(pl.col("split") == "train")
        kept = pl.concat([train.head(int(min(share, 1.0) * len(train))), items.filter(pl.col("split") == "test")])
        links = self.whole["train"].filter(pl.col("item_id").is_in(kept["id"].implode()))
        labels = self.whole["labels"].filter(pl.col("id").is_in(links["label_id"].implode()))
        known = pl.concat([labels["id"], self.whole["zeroshot_labels"]["id"]]).implode()

        def of(name: str) -> pl.DataFrame:
            ours = pl.col("item_id").is_in(kept["id"].implode()) & pl.col("label_id").is_in(known)
            return self.whole[name].filter(ours)

        paths = kept["image_paths"].explode().drop_nulls()
        labelled = pl.concat([labels, self.whole["zeroshot_labels"]])["image_paths"].explode().drop_nulls()
        pictures = pl.concat([paths, labelled]).unique().implode()
        return {
            "items": kept,
            "labels": labels,
            "zeroshot_labels": self.whole["zeroshot_labels"],
            "images": self.whole["images"].filter(pl.col("path").is_in(pictures)),
            "train": links,
            **{name: of(name) for name in ("test", "test_zeroshot", "filter_train", "filter_test")},
        }


def _drifting(tables: Tables, _: np.random.Generator) -> Tables:
    """Training items with texts thrice as long and one label each."""
    train = pl.col("split") == "train"
    longer = pl.when(train).then(pl.concat_str([pl.col("text")] * 3, separator=", ")).otherwise(pl.col("text"))
    links = tables["train"].unique("item_id", keep="first", maintain_order=True)
    return tables | {"items": tables["items"].with_columns(text=longer), "train": links}


def _worse(tables: Tables, chance: np.random.Generator) -> Tables:
    """Every training item with the labels of another: nothing to be learnt from."""
    ids = tables["train"]["item_id"].unique(maintain_order=True)
    other = ids.gather(chance.permutation(len(ids)))
    return tables | {"train": tables["train"].with_columns(pl.col("item_id").replace(ids, other))}


def _dangling(tables: Tables, _: np.random.Generator) -> Tables:
    nobody = pl.DataFrame({"item_id": ["nobody"], "label_id": tables["train"]["label_id"][:1]})
    return tables | {"train": pl.concat([tables["train"], nobody])}


def _blind(tables: Tables, chance: np.random.Generator) -> Tables:
    """A picture that does not decode."""
    images = tables["images"].with_row_index()
    damaged = pl.when(pl.col("index") == int(chance.integers(len(images)))).then(pl.lit(b"no picture"))
    return tables | {"images": images.with_columns(bytes=damaged.otherwise(pl.col("bytes"))).drop("index")}


def _silent(tables: Tables, _: np.random.Generator) -> Tables:
    """A training item without text or picture."""
    items = tables["items"].with_row_index()
    first = pl.col("index") == 0
    text = pl.when(first).then(pl.lit("")).otherwise(pl.col("text"))
    paths = pl.when(first).then(pl.lit([], dtype=pl.List(pl.String))).otherwise(pl.col("image_paths"))
    return tables | {"items": items.with_columns(text=text, image_paths=paths).drop("index")}


def _as_it_is(tables: Tables, _: np.random.Generator) -> Tables:
    return tables


KINDS: dict[str, Callable[[Tables, np.random.Generator], Tables]] = {
    "good": _as_it_is,
    "drifting": _drifting,
    "worse": _worse,
    "dangling": _dangling,
    "torn": _as_it_is,
    "blind": _blind,
    "silent": _silent,
}
"""Dangling and torn ones are refused when they are taken in, blind ones by the stage ingest, silent ones by a quality
rule; drifting ones bring warnings, worse ones a challenger that the gate refuses."""
ORDER = ("good", "worse", "dangling", "drifting", "silent", "good", "torn", "blind")
