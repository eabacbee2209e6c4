"""The stage release: what is packed, what passes the gate, what is kept and what is served after it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import polars as pl
import pytest

from mufin_model.artefacts import read_json
from mufin_model.errors import ArtefactError
from mufin_model.release import package
from mufin_model.release.gate import CHECKS
from mufin_model.release.release import rollback
from tests.conftest import Small

from .conftest import files, shelf_of

Site = Callable[..., Small]


def verdict(small: Small) -> dict:
    return read_json(small.noun("released_model") / package.VERDICT)


def decisions(small: Small) -> list[str]:
    return [one["decision"] for one in shelf_of(small).records()]


def test_holds_what_serving_needs_and_what_it_was_made_of(good: Small, site: Site) -> None:
    small = site(good)
    small.run("release")
    folder = small.noun("released_model")
    package.verify(folder)
    told = read_json(folder / package.MANIFEST)
    assert told["metrics"] == read_json(good.noun("eval_report") / "metrics.json")["mufin"]
    assert told["release"] == shelf_of(small).current().name == package.name_of(told["files"])
    assert not [name for name in told["files"] if "raw_descriptors/images" in name or name.endswith("loss.csv")]
    assert {f"pretrained_model/backbones/{name}" for name in ("image.safetensors", "backbones.json")} < set(
        told["files"]
    )
    assert pl.read_parquet(folder / "labels.parquet").columns == ["id", "text", "zero_shot"]
    made_of = told["provenance"]
    assert made_of["seed"] == small.settings.seed
    assert len({made_of["data"], made_of["code"], made_of["params"]}) == 3
    assert {"python", "torch", "polars"} < set(made_of["libraries"])
    assert made_of["machine"]["accelerator"]
    card = (folder / "model_card.md").read_text()
    assert "trained on demo" in card
    assert f"P@1 {100 * told['served_metrics']['P@1']:.2f}" in card


def test_equal_artefacts_give_equal_bytes_and_no_second_release(good: Small, site: Site) -> None:
    small = site(good)
    small.run("release")
    first = files(small.noun("released_model"))
    small.run("release")
    assert files(small.noun("released_model")) == first
    assert decisions(small) == ["promoted"]
    # the settings of the gate make no other release of the same model
    site(good, "release.keep=2", "release.tolerance=0.5").run("release")
    assert decisions(small) == ["promoted"]


def test_a_worse_challenger_is_recorded_and_refused(good: Small, worse: Small, site: Site) -> None:
    small = site(good)
    small.run("release")
    name, before = shelf_of(small).current().name, files(small.noun("released_model"))
    small = site(worse)
    small.run("release")
    after = files(small.noun("released_model"))
    assert shelf_of(small).current().name == name
    assert {path for path in before if before[path] != after[path]} == {package.VERDICT}
    told = verdict(small)
    assert told["decision"] == "refused"
    assert told["champion"] == name
    assert told["how"] == "same test set"
    assert any(reason.startswith("P@1 ") for reason in told["reasons"])
    failed = [one for one in told["compared"] if not one["passed"]]
    assert all(one["risk"] > 0.5 and one["decides"] for one in failed)
    record = shelf_of(small).records()[-1]
    assert record["provenance"]["params"] != shelf_of(small).records()[0]["provenance"]["params"]
    assert record["measured"]["milliseconds"] > 0
    assert not shelf_of(small).path(told["challenger"]).exists()
    # asked again, nothing is new: neither a record nor a byte
    small.run("release")
    assert decisions(small) == ["promoted", "refused"]
    assert files(small.noun("released_model")) == after


def test_a_better_one_takes_the_place_and_rollback_returns(good: Small, worse: Small, site: Site) -> None:
    small = site(worse)
    small.run("release")
    first = shelf_of(small).current().name
    old = files(small.noun("released_model"))
    small = site(good)
    small.run("release")
    second = shelf_of(small).current().name
    assert second != first
    assert verdict(small)["decision"] == "promoted"
    assert rollback(small.workspace, small.dataset) == first
    now = files(small.noun("released_model"))
    assert {path for path in old if old[path] != now[path]} == {package.VERDICT}
    assert "by hand" in verdict(small)["reasons"][0]
    # what was rolled back does not return by itself
    small.run("release")
    assert shelf_of(small).current().name == first
    assert "rolled back by hand" in verdict(small)["reasons"][0]
    # but by hand, by the beginning of its name
    assert rollback(small.workspace, small.dataset, second[:6]) == second
    assert decisions(small) == ["promoted", "promoted", "rolled back", "refused", "rolled back"]
    with pytest.raises(ArtefactError, match="no release 'nothing' is kept"):
        rollback(small.workspace, small.dataset, "nothing")


def test_a_damaged_release_is_not_returned_to(good: Small, worse: Small, site: Site) -> None:
    site(worse).run("release")
    small = site(good)
    small.run("release")
    shelf = shelf_of(small)
    second = shelf.current().name
    (first,) = set(shelf.names()) - {second}
    fusion = shelf.path(first) / package.FUSION
    text = fusion.read_text()
    fusion.unlink()
    fusion.write_text(text.replace("1", "2"))
    with pytest.raises(ArtefactError, match="1 files differ"):
        rollback(small.workspace, small.dataset)
    assert shelf.current().name == second


def test_failed_checks_a_budget_and_a_folder_that_does_not_load_refuse(
    good: Small, worse: Small, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site(worse).run("release")
    monkeypatch.setenv(CHECKS, json.dumps({"critical": ["predictions scores_finite: 3 rows"], "warning": ["w"]}))
    small = site(good, "release.milliseconds=0.001", "release.megabytes=0.001")
    small.run("release")
    told = verdict(small)
    assert told["decision"] == "refused"
    assert [reason.split(" ")[0] for reason in told["reasons"]] == ["check", "its", "one"]
    assert not any("0.0" in str(value) for value in told["notes"])
    monkeypatch.setenv(CHECKS, json.dumps({"warning": ["drift: far"]}))
    site(good).run("release")
    assert verdict(small)["decision"] == "promoted"
    assert verdict(small)["checks"] == {"critical": [], "warning": ["drift: far"]}


def test_without_the_gate_anything_is_put_in_front(good: Small, worse: Small, site: Site) -> None:
    site(good).run("release")
    small = site(worse, "release.gate=false")
    small.run("release")
    assert verdict(small)["decision"] == "promoted"
    assert "without a gate" in verdict(small)["notes"][0]


def test_the_last_releases_stay(good: Small, worse: Small, site: Site) -> None:
    for number, of in enumerate((good, worse, good, worse)):
        site(of, "release.gate=false", "release.keep=1" if number == 3 else "release.keep=2").run("release")
        assert len(shelf_of(site(of)).names()) == min(2, number + 1) if number < 3 else 1
    small = site(worse)
    assert shelf_of(small).names() == [shelf_of(small).current().name]


def test_a_release_that_dvc_brought_is_taken_up_as_it_is(good: Small, worse: Small, site: Site) -> None:
    site(worse).run("release")
    small = site(good)
    small.run("release")
    before = files(small.noun("released_model"))
    shutil.rmtree(shelf_of(small).folder)
    small.run("release")
    assert files(small.noun("released_model")) == before
    assert decisions(small) == ["promoted"]
    # and a refusal is made again to the byte
    small = site(worse)
    small.run("release")
    before = files(small.noun("released_model"))
    shutil.rmtree(shelf_of(small).folder)
    small.run("release")
    assert files(small.noun("released_model")) == before


def test_a_release_from_before_the_gate_is_the_champion(good: Small, worse: Small, site: Site) -> None:
    small = site(good)
    small.run("release")
    name = shelf_of(small).current().name
    shutil.rmtree(shelf_of(small).folder)
    (small.noun("released_model") / package.VERDICT).unlink()
    site(worse).run("release")
    told = verdict(small)
    assert (told["decision"], told["champion"]) == ("refused", name)
    assert shelf_of(small).names() == [name]


def test_an_adopted_release_can_be_returned_to(good: Small, worse: Small, site: Site) -> None:
    small = site(worse)
    small.run("release")
    name = shelf_of(small).current().name
    shutil.rmtree(shelf_of(small).folder)  # as in a fresh clone, where DVC brought the artefact alone
    site(good, "release.keep=2").run("release")
    assert verdict(small)["decision"] == "promoted"
    assert name in shelf_of(small).names()
    assert rollback(small.workspace, small.dataset) == name
    assert shelf_of(small).current().name == name


def test_a_missing_artefact_is_named_and_changes_nothing(good: Small, site: Site) -> None:
    small = site(good)
    (small.workspace.path(small.dataset, "eval_report")).unlink()
    with pytest.raises(ArtefactError, match="eval_report of demo does not exist yet"):
        small.run("release")
    assert shelf_of(small).current() is None
