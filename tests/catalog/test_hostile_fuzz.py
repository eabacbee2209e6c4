"""Random damage: bytes changed, cut and moved in every format, and small random catalogues with a fault or none.

Whatever the damage, ingest succeeds and its artefact loads, or it raises a MufinError; seeds are fixed.
"""

from __future__ import annotations

import io
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mufin_model.catalog import images
from mufin_model.catalog.images import thumbnail
from mufin_model.errors import MufinError

from . import hostile
from .conftest import PATHS, Tiny
from .hostile_pictures import SHOWN
from .samples import a2q, csv, jsonl, lf, mm_amazon, polyvore, xc
from .samples.content import Content
from .test_hostile import outside

LONGER = int(os.environ.get("MUFIN_FUZZ", "1"))
"""How many times as many tries; above 1 other seeds as well."""
TRIES = 90 * LONGER
"""Damaged files a format, and pictures."""


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one kind of damage."""
    out = bytearray(data)
    kind = rng.choice(("flip", "flip", "flip", "cut", "drop", "double", "zero", "grow"))
    at = rng.randrange(len(out)) if out else 0
    size = rng.choice((1, 4, 64))
    if kind == "flip":
        for _ in range(rng.choice((1, 2, 8))):
            if out:
                out[rng.randrange(len(out))] = rng.randrange(256)
    elif kind == "cut":
        del out[at:]
    elif kind == "drop":
        del out[at : at + size]
    elif kind == "double":
        out[at:at] = out[at : at + size]
    elif kind == "zero":
        out[at : at + size] = bytes(len(out[at : at + size]))
    else:
        out += rng.randbytes(size)
    return bytes(out)


def survives(tiny: Tiny, *overrides: str) -> bool:
    """Whether ingest accepted the catalogue; what it left has been read whole. Its check alone agrees."""
    before = outside(tiny.workspace)
    told = tiny.check("ingest.bad_images=drop", *overrides)
    try:
        catalog = tiny.ingest("ingest.bad_images=drop", *overrides)
    except MufinError as error:
        fault = error
    else:
        fault = None
    assert outside(tiny.workspace) == before
    assert (fault is None) == (told == [])
    if fault is not None:
        assert str(fault) in map(str, told)
        assert fault.what, fault
        assert fault.where, fault
        assert fault.mend, fault
        assert len(str(fault)) < 4000
        return False
    assert catalog.links("train").shape == (len(catalog.rows("train")), catalog.n_seen)
    assert len(catalog.item_images()[0]) == catalog.items.height + 1
    for row in range(len(catalog.images)):
        assert catalog.images.image(row).size == (16, 16)
    return True


WRITERS: dict[str, Callable[[Path], object] | None] = {
    "generic": None,
    "packed": None,
    "csv": lambda folder: csv.write(folder, Content()),
    "tsv gzipped": lambda folder: csv.write(folder, Content(), ".tsv.gz", mark=True),
    "jsonl": lambda folder: jsonl.write(folder, Content()),
    "jsonl gzipped": lambda folder: jsonl.write(folder, Content(), packed=True, ascii_only=True),
    "xc": lambda folder: xc.write(folder, Content()),
    "mm_amazon": lambda folder: mm_amazon.write(folder, Content()),
    "lf": lambda folder: lf.write(folder, Content()),
    "lf with vectors": lambda folder: (lf.write(folder, Content()), lf.write_vectors(folder, Content())),
    "lf with plain maps": lambda folder: (
        lf.write(folder, Content()),
        lf.write_vectors(folder, Content(), lists=False),
    ),
    "polyvore": lambda folder: polyvore.write(folder, polyvore.Outfits()),
    "a2q": lambda folder: a2q.write(folder, a2q.Log()),
    "a2q gzipped": lambda folder: a2q.write(folder, a2q.Log(), packed=True),
}


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_files(tiny: Tiny, name: str) -> None:
    writer = WRITERS[name]
    if writer is None:
        tiny.write(packed=name == "packed")
    else:
        tiny.folder.parent.mkdir(parents=True)
        writer(tiny.folder)
    assert survives(tiny), "the whole sample is refused"
    whole = tiny.folder.with_name("whole")
    shutil.copytree(tiny.folder, whole)
    rng = random.Random(f"{name} {LONGER}")
    refused = 0
    files = [file for file in sorted(whole.rglob("*")) if file.is_file() and file.suffix not in (".png", ".jpg")]
    for file in files:
        spoilt = tiny.folder / file.relative_to(whole)
        for _ in range(max(3, TRIES // len(files))):
            spoilt.write_bytes(damaged(file.read_bytes(), rng))
            refused += not survives(tiny)
        spoilt.write_bytes(file.read_bytes())
        spoilt.unlink()
        survives(tiny)
        spoilt.write_bytes(file.read_bytes())
    assert refused


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("number", range(len(SHOWN)), ids=[name for name, *_ in SHOWN])
def test_damaged_pictures(number: int, tmp_path: Path) -> None:
    rng = random.Random(number + 1000 * LONGER)
    data = [damaged(SHOWN[number][1], rng) for _ in range(TRIES)]

    class Pictures:
        def stream(self, paths):
            for path in paths:
                yield path, io.BytesIO(data[int(path)]).read

    written = images.write(tmp_path / "images", Pictures(), [str(at) for at in range(TRIES)], 16)
    assert len(written.rows) + len(written.bad) == TRIES
    assert all(reason and "0x" not in reason for reason in written.bad.values())
    for path in written.rows:
        assert thumbnail(data[int(path)], 16).size == (16, 16)


IDS = st.one_of(st.sampled_from(["a", "b", "c"]), st.text(max_size=6))
TITLES = st.one_of(st.none(), st.text(max_size=40))
NAMES = st.one_of(
    st.sampled_from(["images/i0.png", "images/i1.png", "images", "../params.yaml", "", ".", "images/../images/i0.png"]),
    st.text(max_size=8),
)


@st.composite
def catalogs(draw: st.DrawFn) -> dict[str, pl.DataFrame]:
    """Tables of a few rows: half of them sound but for the texts, ids and paths, half of them anything."""
    sound = draw(st.booleans())
    ids = st.one_of(st.sampled_from(["a", "b", "c"]), st.text(st.characters(categories=["L", "N", "P"]), min_size=1))
    items, labels = (
        draw(st.lists(ids if sound else IDS, min_size=least * sound, max_size=6, unique=sound)) for least in (2, 1)
    )
    cut = draw(st.integers(1, len(items) - 1) if sound else st.integers(0, len(items)))

    def links(of: list[str]) -> pl.DataFrame:
        known = st.tuples(st.sampled_from(of or ["a"]), st.sampled_from(labels or ["a"]))
        pairs = draw(st.lists(known if sound else st.one_of(known, st.tuples(IDS, IDS)), min_size=sound, max_size=8))
        return pl.DataFrame(pairs, schema={"item_id": pl.String, "label_id": pl.String}, orient="row")

    def rows(ids: list[str]) -> pl.DataFrame:
        schema = {"id": pl.String, "text": pl.String, "image_paths": PATHS}
        paths = st.one_of(st.none(), st.lists(NAMES, max_size=2))
        return pl.DataFrame([(id_, draw(TITLES), draw(paths)) for id_ in ids], schema=schema, orient="row")

    tables = {"items": rows(items), "labels": rows(labels), "train": links(items[:cut]), "test": links(items[cut:])}
    if draw(st.booleans()):
        tables["filter_test"] = links(items)
    fault = "none" if sound else draw(st.sampled_from(["none", "drop", "null", "number", "twice"]))
    if fault != "none":
        name = draw(st.sampled_from(sorted(tables)))
        column = draw(st.sampled_from(tables[name].columns))
        change = {"null": pl.lit(None), "number": pl.lit(1.5), "twice": pl.col(column)}
        if fault == "drop":
            tables[name] = tables[name].drop(column)
        else:
            tables[name] = tables[name].with_columns(change[fault].alias(column if fault != "twice" else f"{column} "))
    return tables


@pytest.mark.parametrize("kind", ["generic", "csv", "jsonl"])
def test_random_catalogs(tiny: Tiny, kind: str) -> None:
    rounds: set[bool] = set()

    @settings(
        max_examples=80 * LONGER, derandomize=LONGER == 1, database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )  # fmt: skip
    @given(tables=catalogs(), keep=st.booleans())
    def tried(tables: dict[str, pl.DataFrame], keep: bool) -> None:
        shutil.rmtree(tiny.folder, ignore_errors=True)
        tiny.tables = tables
        tiny.write()
        if kind != "generic":
            getattr(hostile, kind)(bytes)(tiny)
        accepted = survives(tiny, f"ingest.validation_fraction={0 if keep else 0.3}")
        rounds.add(accepted)
        if accepted:
            items = pl.read_parquet(tiny.workspace.read("demo", "raw_descriptors") / "items.parquet")
            assert items["id"].to_list() == tables["items"]["id"].to_list()

    tried()
    assert rounds == {True, False}
