"""The current release on test items that it was not measured on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mufin_model.artefacts import Workspace, read_json, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.evaluation.metrics import without
from mufin_model.release import ground, package
from tests.conftest import Small, small_settings

RELEASE = small_settings("release.least_items=5").release


@pytest.fixture(scope="module")
def champion(good: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("champion")
    package.pack(good.workspace, good.dataset, good.settings, folder)
    return folder


@pytest.fixture
def catalog(good: Small, tmp_path: Path) -> Catalog:
    """Today's: a test item less, the labels in another order, one of them gone, one renamed."""
    folder = tmp_path / "today"
    shutil.copytree(good.noun("raw_descriptors"), folder)
    items = pl.read_parquet(folder / "items.parquet")
    row = int(np.flatnonzero((items["split"] == "test").to_numpy())[0])
    (
        items.with_row_index()
        .with_columns(split=pl.when(pl.col("index") == row).then(pl.lit("train")).otherwise("split"))
        .drop("index")
        .write_parquet(folder / "items.parquet")
    )
    links = pl.read_parquet(folder / "links.parquet")
    links.filter(pl.col("item") != row).write_parquet(folder / "links.parquet")
    return Catalog.load(folder)


def _challenger(champion: Path, today: Catalog, folder: Path) -> Path:
    """A release whose stored scores are of today's test items: those of the champion, the first item gone."""
    from scipy.sparse import load_npz, save_npz

    shutil.copytree(champion, folder)
    shutil.copytree(today.folder, folder / "raw_descriptors", dirs_exist_ok=True)
    save_npz(folder / package.SCORES, load_npz(champion / package.SCORES)[1:])
    return folder


def test_the_same_test_set_is_not_scored_again(champion: Path, good: Small) -> None:
    today = Catalog.load(good.noun("raw_descriptors"))
    over = ground.ground(champion, champion, today, RELEASE, 1)
    assert over is not None
    assert over.how == ground.SAME
    assert (over.ours != over.theirs).nnz == 0
    assert over.truth.shape[0] == len(today.rows("test"))


def test_the_champion_scores_a_new_test_set_as_it_did_the_old_one(
    champion: Path, catalog: Catalog, tmp_path: Path
) -> None:
    over = ground.ground(_challenger(champion, catalog, tmp_path / "new"), champion, catalog, RELEASE, 1)
    assert over is not None
    assert over.how == ground.RESCORED
    # its own encoder, from texts and pictures, gives what was measured when it was made
    ours, theirs = over.ours.toarray(), without(over.theirs, catalog.filters("test")).toarray()
    assert np.abs(ours - theirs)[ours != 0].max() < 1e-4
    assert (over.ours.argmax(1) == over.theirs.argmax(1)).mean() > 0.95


def test_where_it_cannot_common_items_are_compared_or_nothing(champion: Path, catalog: Catalog, tmp_path: Path) -> None:
    blind = tmp_path / "blind"
    shutil.copytree(champion, blind)
    (blind / "pretrained_model" / "backbones" / "image.safetensors").write_bytes(b"damaged")
    challenger = _challenger(champion, catalog, tmp_path / "new")
    over = ground.ground(challenger, blind, catalog, RELEASE, 1)
    assert over is not None
    assert over.how == ground.COMMON
    assert "cannot score the new test set" in over.note
    assert (over.ours != over.theirs).nnz == 0
    assert ground.ground(challenger, blind, catalog, small_settings().release, 1) is None


def _labelled_before(catalog: Catalog, n: int) -> Catalog:
    """Today's, n of its test items under the names of items that the champion was trained on."""
    items = pl.read_parquet(catalog.folder / "items.parquet")
    ids, split = items["id"].to_list(), items["split"].to_list()
    test = [row for row, of in enumerate(split) if of == "test"][:n]
    train = [row for row, of in enumerate(split) if of == "train"][-n:]  # the first of them was a test item before
    for one, other in zip(test, train, strict=True):
        ids[one], ids[other] = ids[other], ids[one]
    items.with_columns(id=pl.Series(ids)).write_parquet(catalog.folder / "items.parquet")
    return Catalog.load(catalog.folder)


def test_items_it_was_trained_on_are_no_test_of_the_champion(champion: Path, catalog: Catalog, tmp_path: Path) -> None:
    challenger = _challenger(champion, catalog, tmp_path / "new")
    today = _labelled_before(catalog, 3)
    over = ground.ground(challenger, champion, today, RELEASE, 1)
    assert over is not None
    assert over.how == ground.RESCORED
    assert over.note == "3 test items that the current release was trained on are left out"
    assert over.ours.shape[0] == len(catalog.rows("test")) - 3
    kept = ground.stored(challenger, today)
    assert (over.ours != kept[3:]).nnz == 0


def test_a_champion_trained_on_nearly_all_of_them_is_not_asked(
    champion: Path, catalog: Catalog, tmp_path: Path
) -> None:
    challenger = _challenger(champion, catalog, tmp_path / "new")
    today = _labelled_before(catalog, len(catalog.rows("test")) - 4)
    assert ground.ground(challenger, champion, today, RELEASE, 1) is None  # four in common are not enough either
    few = small_settings("release.least_items=4").release
    over = ground.ground(challenger, champion, today, few, 1)
    assert over is not None
    assert (over.how, over.ours.shape[0]) == (ground.RESCORED, 4)


def test_labels_are_matched_by_id_and_one_that_is_gone_is_a_wrong_answer(champion: Path, tmp_path: Path) -> None:
    before = Catalog.load(champion / "raw_descriptors")
    folder = tmp_path / "today"
    shutil.copytree(champion / "raw_descriptors", folder)
    labels = pl.read_parquet(folder / "labels.parquet")
    order = np.r_[np.arange(before.n_seen)[::-1], np.arange(before.n_seen, before.n_labels)]
    moved = labels[order.tolist()]
    moved = moved.with_columns(id=pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("new")).otherwise("id"))
    moved.write_parquet(folder / "labels.parquet")
    places = np.argsort(order).astype(np.uint32)
    for name in ("links", "filters"):
        table = pl.read_parquet(folder / f"{name}.parquet")
        table.with_columns(label=pl.Series(places[table["label"].to_numpy()])).write_parquet(folder / f"{name}.parquet")
    today = Catalog.load(folder)
    width, renamed = ground.renamed(ground.stored(champion, before), before, today)
    assert width == before.n_seen + 1
    ids = [*today.labels["id"].head(today.n_seen), labels["id"][before.n_seen - 1]]
    old = ground.stored(champion, before).tocoo()
    new = renamed.tocoo()
    assert [labels["id"][int(c)] for c in old.col] == [ids[c] for c in new.col]
    assert np.array_equal(old.data, new.data)


def test_the_fingerprint_is_of_the_test_items_alone(champion: Path, tmp_path: Path) -> None:
    folder = tmp_path / "today"
    shutil.copytree(champion / "raw_descriptors", folder)
    items = pl.read_parquet(folder / "items.parquet")
    before = ground.fingerprint(Catalog.load(folder))

    def with_text(split: str) -> str:
        changed = pl.when(pl.col("split") == split).then(pl.lit("another")).otherwise("text")
        items.with_columns(text=changed).write_parquet(folder / "items.parquet")
        return ground.fingerprint(Catalog.load(folder))

    assert with_text("train") == before
    assert with_text("test") != before


def test_a_manifest_without_a_name_is_named_by_its_files(champion: Path, tmp_path: Path) -> None:
    told = read_json(champion / package.MANIFEST)
    folder = Workspace(tmp_path).root
    write_json(folder / package.MANIFEST, {name: value for name, value in told.items() if name != "release"})
    assert package.released(folder)["release"] == told["release"]
