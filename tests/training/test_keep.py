"""A refresh keeps trained weights and gives what is new its vectors, index and predictions."""

from __future__ import annotations

import filecmp
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from mufin_model.catalog.catalog import Catalog
from mufin_model.errors import ArtefactError
from tests.conftest import VERBS, Small

KEEP = ("ingest.keep_split=true", *(f"{verb}.keep_weights=true" for verb in ("encode", "pretrain", "finetune")))
NEW_ITEM, NEW_LABEL, GONE = "fresh-1", "fresh-label", 3
TRAINED = ("pretrained_model", "finetuned_classifiers")


@pytest.fixture(scope="module")
def refreshed(built: Small, tmp_path_factory: pytest.TempPathFactory) -> Small:
    """The small dataset with 12 more items, one more label of theirs and one label gone; weights kept."""
    made = built.branch(tmp_path_factory.mktemp("refreshed"), overrides=KEEP)
    data = made.workspace.dataset(made.dataset)
    (data / "catalog").unlink()
    for noun in ("catalog", "raw_descriptors", "encoder_embeddings", *TRAINED):
        shutil.copytree(built.workspace.path(built.dataset, noun), data / noun)
    _grow(made)
    made.run(*VERBS)
    return made


def _grow(made: Small) -> None:
    folder = made.workspace.catalog(made.dataset)
    tables = {name: pl.read_parquet(folder / f"{name}.parquet") for name in ("items", "labels", "train")}
    label = tables["labels"].row(GONE, named=True)
    first = tables["items"].filter(pl.col("id").is_in(tables["train"]["item_id"].to_list())).head(12)
    fresh = first.with_columns(id=pl.format("fresh-{}", pl.int_range(pl.len())))
    tables["items"] = pl.concat([fresh, tables["items"]])  # in front: every row moves
    new = tables["labels"].head(1).with_columns(id=pl.lit(NEW_LABEL), text=pl.lit("a label nobody trained"))
    tables["labels"] = pl.concat([new, tables["labels"].filter(pl.col("id") != label["id"])])
    links = pl.DataFrame({"item_id": fresh["id"], "label_id": [NEW_LABEL] * 12})
    old = tables["train"].filter(pl.col("label_id") != label["id"])
    tables["train"] = pl.concat([old, links.cast(old.schema)])
    for name, table in tables.items():
        table.write_parquet(folder / f"{name}.parquet")
    for path in folder.glob("*.parquet"):
        table = pl.read_parquet(path)
        if "label_id" in table.columns:
            table.filter(pl.col("label_id") != label["id"]).write_parquet(path)


def test_a_labelled_item_that_is_a_test_item_now_is_told(
    built: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = built.branch(tmp_path, ("ingest",), ("ingest.keep_split=true",))
    data = made.workspace.dataset(made.dataset)
    (data / "raw_descriptors").unlink()
    (data / "catalog").unlink()
    for noun in ("catalog", "raw_descriptors"):
        shutil.copytree(built.workspace.path(built.dataset, noun), data / noun)
    train, test = (pl.read_parquet(data / "catalog" / f"{name}.parquet") for name in ("train", "test"))
    moved = pl.col("item_id") == train["item_id"][0]
    train.filter(~moved).write_parquet(data / "catalog" / "train.parquet")
    pl.concat([test, train.filter(moved)]).write_parquet(data / "catalog" / "test.parquet")
    items = pl.read_parquet(data / "catalog" / "items.parquet")
    items.drop("split", strict=False).write_parquet(data / "catalog" / "items.parquet")
    made.run("ingest")
    assert "1 test items were labelled before" in capsys.readouterr().out


def by_id(small: Small, noun: str, file: str) -> dict[str, np.ndarray]:
    folder = small.noun(noun)
    ids = pl.read_parquet(folder / "labels.parquet")["id"].to_list()
    return dict(zip(ids, np.load(folder / file), strict=True))


def test_the_weights_are_those_before(built: Small, refreshed: Small):
    for name in ("model.safetensors", "config.json", "loss.csv"):
        assert filecmp.cmp(built.noun(TRAINED[0]) / name, refreshed.noun(TRAINED[0]) / name, shallow=False)
    same = filecmp.dircmp(
        built.noun("encoder_embeddings") / "backbones", refreshed.noun("encoder_embeddings") / "backbones"
    )
    assert not same.diff_files
    before, after = (by_id(small, TRAINED[1], "classifiers.npy") for small in (built, refreshed))
    known = before.keys() & after.keys()
    assert len(known) == len(before) - 1
    for label in known:
        np.testing.assert_allclose(after[label], before[label], atol=1e-5)


def test_what_is_new_has_vectors_and_predictions(built: Small, refreshed: Small):
    catalog = Catalog.load(refreshed.noun("raw_descriptors"))
    label = catalog.labels["id"].to_list().index(NEW_LABEL)
    told = pl.read_parquet(refreshed.noun(TRAINED[1]) / "labels.parquet")
    assert told.filter(~pl.col("trained"))["id"].to_list() == [NEW_LABEL]
    vectors = np.load(refreshed.noun("anns_index") / "labels.npy")
    assert np.linalg.norm(vectors[label]) == pytest.approx(1, abs=1e-4)
    assert len(np.load(refreshed.noun(TRAINED[0]) / "item_embeddings.npy")) == 132
    scores = sparse.load_npz(refreshed.noun("predictions") / "mufin.npz")
    assert scores.shape == (len(catalog.rows("test")), catalog.n_seen)
    assert scores[:, label].nnz > 0


def test_known_items_have_the_vectors_they_had(built: Small, refreshed: Small):
    rows = []
    for small in (built, refreshed):
        ids = Catalog.load(small.noun("raw_descriptors")).items["id"]
        rows.append(dict(zip(ids, np.load(small.noun(TRAINED[0]) / "item_embeddings.npy"), strict=True)))
    for id_, vector in rows[0].items():
        np.testing.assert_allclose(rows[1][id_], vector, atol=1e-4)


def test_no_item_that_was_trained_on_becomes_a_validation_item(built: Small, refreshed: Small):
    before, after = (Catalog.load(small.noun("raw_descriptors")).items for small in (built, refreshed))
    both = before.join(after, on="id", suffix="_after")
    assert both.height == before.height
    assert (both["split"] == both["split_after"]).all()
    assert after.filter(pl.col("id").str.starts_with("fresh"))["split"].to_list().count("val") >= 1


def test_a_second_refresh_leaves_the_same_bytes(refreshed: Small):
    def files() -> dict[str, bytes]:
        folders = [refreshed.noun(noun) for noun in ("raw_descriptors", "encoder_embeddings", *TRAINED)]
        return {str(p): p.read_bytes() for folder in folders for p in folder.rglob("*") if p.is_file()}

    before = files()
    refreshed.run("ingest", "encode", "pretrain", "index", "mine", "finetune")
    assert files() == before


def test_without_weights_it_says_so(refreshed: Small, tmp_path, settings_of):
    from mufin_model.training import pretrain

    bare = refreshed.branch(tmp_path, ("ingest", "encode"), KEEP)
    bare.workspace.path(bare.dataset, TRAINED[0]).mkdir()
    with pytest.raises(ArtefactError, match="no weights to keep"):
        pretrain.run(bare.workspace, bare.dataset, bare.settings)
