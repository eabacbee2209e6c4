"""Commit, history, diff, restore."""

from __future__ import annotations

from pathlib import Path

import pytest

from mufin_dagster import data_diff, datasets
from mufin_dagster.data_restore import restore
from mufin_dagster.data_versions import commit, history
from mufin_dagster.versioning import VersioningError
from mufin_model.errors import DatasetError

from .conftest import ITEMS, Shop


def test_a_version_is_one_commit_of_pointers(grown: Shop) -> None:
    changed = grown.git("show", "--format=", "--name-only", "HEAD").split()
    assert changed == ["data/shop/catalog.dvc", "dvc.lock"]
    assert sum(map(len, grown.git("show", "HEAD").splitlines())) < 4000
    assert not grown.git("status", "--porcelain")
    assert commit(grown.workspace, "Nothing") is None


def test_history_tells_each_version_of_the_data_once(grown: Shop) -> None:
    (grown.root / "note.txt").write_text("x")
    grown.git("add", "note.txt")
    grown.git("commit", "-qm", "No data")
    found = history(grown.workspace, "shop")
    assert [version.message for version in found] == ["More", "First photographs"]
    assert found[0].catalog != found[1].catalog
    told = grown.mufin("data", "history", "-d", "shop").stdout
    rows = [line.split() for line in told.splitlines() if line.startswith(tuple(v.commit[:10] for v in found))]
    assert [row[3:7] for row in rows] == [["65", "2", "65", "65"], ["60", "2", "60", "60"]]


def test_diff_counts_what_was_added_removed_and_changed(shop: Shop) -> None:
    first = shop.git("rev-parse", "HEAD").strip()
    second = shop.version("Others", items=ITEMS + 5, removed=3)
    then, now = (data_diff.snapshot(shop.workspace, "shop", rev) for rev in (first, second))
    found = data_diff.compare(then, now)
    assert found.items == data_diff.Change(60, 62, 5, 3, 5, {"split": 5})  # five of the test items train now
    assert (found.labels.added, found.labels.removed, found.labels.changed) == (0, 0, 0)
    assert found.links == data_diff.Change(60, 62, 5, 3, 5, {"split": 5})
    assert (found.images.added, found.images.removed) == (5, 3)
    assert not [one for one in found.drift if one.psi is not None and one.psi > 0.1]
    again = data_diff.compare(now, data_diff.snapshot(shop.workspace, "shop", None))
    assert (again.items.added, again.items.removed, again.items.changed, again.images.added) == (0, 0, 0, 0)


def test_diff_tells_which_part_of_an_item_changed_and_how_texts_drift(shop: Shop) -> None:
    first = shop.git("rev-parse", "HEAD").strip()
    shop.version("Longer titles", prefix="a much longer title of an item")
    told = shop.mufin("data", "diff", first, "-d", "shop").stdout
    (items,) = [line.split() for line in told.splitlines() if line.startswith("items ")]
    assert items == ["items", "60", "60", "0", "0", "60", "text", "60"]
    (lengths,) = [line.split() for line in told.splitlines() if line.startswith("characters a text, items")]
    assert float(lengths[-1]) > 1


def test_back_and_forth(grown: Shop, template: Path) -> None:
    earlier = Shop(template / "project")
    before = (earlier.artefact(), earlier.artefact("catalog"))
    after = (grown.artefact(), grown.artefact("catalog"))
    assert before != after
    restore(grown.workspace, "HEAD~1")
    assert (grown.artefact(), grown.artefact("catalog")) == before
    restore(grown.workspace, "HEAD")
    assert (grown.artefact(), grown.artefact("catalog")) == after
    assert not grown.git("status", "--porcelain")
    # and with the tools' own commands
    grown.git("checkout", "-q", "HEAD~1", "--", "data", "dvc.lock", "params.yaml")
    grown.dvc("checkout", "--allow-missing")
    assert (grown.artefact(), grown.artefact("catalog")) == before


@pytest.mark.parametrize("where", ["catalog", "pointer"])
def test_what_no_version_holds_is_not_overwritten(grown: Shop, where: str) -> None:
    if where == "catalog":
        (grown.workspace.catalog("shop") / "labels.parquet").write_bytes(b"being edited")
    else:
        with (grown.root / "params.yaml").open("a") as file:
            file.write("# being edited\n")
    with pytest.raises(VersioningError, match="no version holds") as told:
        restore(grown.workspace, "HEAD~1")
    assert "shop/catalog" in str(told.value) if where == "catalog" else "params.yaml" in str(told.value)


def test_descriptors_of_another_catalogue_are_not_committed(shop: Shop) -> None:
    datasets.add(shop.workspace, "shop", shop.draw(ITEMS + 5), replace=True)
    done = shop.mufin("data", "commit", "-m", "Too early")
    assert done.returncode == 2
    assert "mufin ingest --dataset shop" in done.stderr
    assert shop.git("log", "-1", "--format=%s").strip() == "First photographs"


def test_an_override_or_a_name_that_is_unknown(shop: Shop) -> None:
    done = shop.mufin("ingest", "--dataset", "shop", "-S", "ingest.image_size=9")
    assert "not recorded" in done.stdout
    assert not shop.git("status", "--porcelain")
    with pytest.raises(DatasetError, match="no dataset named"):
        commit(shop.workspace, "x", ["shopp"])
    (before,) = shop.git("rev-list", "--max-parents=0", "HEAD").split()
    with pytest.raises(VersioningError, match=f"commit {before[:10]} has no raw_descriptors of shop"):
        data_diff.snapshot(shop.workspace, "shop", before)
    with pytest.raises(VersioningError, match="no commit, branch or tag is called"):
        restore(shop.workspace, "nothing")
