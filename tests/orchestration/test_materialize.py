"""Materialize and `dvc repro` are one act, and each knows what the other did."""

from __future__ import annotations

import json
import shutil

import dagster as dg
import pytest

from mufin_dagster import assets, pipeline, sync, versioning

from .conftest import STEPS, Project

ONE = [f"one/{noun}" for noun in STEPS]
TWO = [f"two/{noun}" for noun in STEPS]


def stale(project: Project, instance: dg.DagsterInstance) -> dict[str, str]:
    """Assets that Dagster does not call fresh."""
    from dagster._core.definitions.data_version import CachingStaleStatusResolver
    from dagster._core.loader import LoadingContextForTest

    graph = project.definitions().resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    found = {key.to_user_string(): resolver.get_status(key) for key in graph.materializable_asset_keys}
    return {key: status.value for key, status in found.items() if status.value != "FRESH"}


def events(project: Project, instance: dg.DagsterInstance) -> list[str]:
    """What the sensor reports, after it has been recorded."""
    context = dg.build_sensor_context(instance=instance)
    told = sync.dvc_lock_sync(project.workspace).evaluate_tick(context).asset_events
    for event in told:
        instance.report_runless_asset_event(event)
    return [event.asset_key.to_user_string() for event in told]


def test_what_dagster_made_dvc_finds_up_to_date(project: Project):
    addresses = [stage.address for stage in project.stages if stage.dataset == "one"]
    assert pipeline_status(project, *addresses) == {}
    lock = (project.root / "dvc.lock").read_bytes()
    told = project.dvc("repro", *addresses)
    assert told.count("didn't change, skipping") >= len(addresses)
    assert "Running stage" not in told
    assert (project.root / "dvc.lock").read_bytes() == lock
    locked = pipeline.read_lock(project.root, project.stages)
    recorded = json.loads((project.root / "events.json").read_text())
    for stage in project.stages:
        if stage.dataset == "one":
            tags = recorded["/".join(stage.key)]
            assert tags == assets.event_tags(stage, project.stages, locked)
            assert tags["dagster/code_version"] == stage.code_version


def test_an_unchanged_stage_is_passed_over_and_still_described(project: Project, instance: dg.DagsterInstance):
    done = project.materialize(instance, "one/words", "one/report")
    words = made(done, "one/words").metadata
    assert words["ran"].value is False
    assert words["epochs"].value == 2
    assert words["last loss"].value == 0.25
    assert words["curve"].value.startswith("![")
    report = made(done, "one/report").metadata
    assert report["P@1"].value == 50.0
    assert "| siamese | 40.00 |" in report["metrics"].value


def test_force_runs_an_unchanged_stage(project: Project, instance: dg.DagsterInstance):
    done = project.materialize(instance, "one/book", config={"force": True})
    assert made(done, "one/book").metadata["ran"].value is True


def test_dvc_repro_outside_is_told_to_dagster(project: Project, instance: dg.DagsterInstance):
    assert events(project, instance) == ["one/catalog", "two/catalog", *ONE]
    assert set(stale(project, instance)) == set(TWO)
    project.dvc("repro")
    assert events(project, instance) == TWO
    assert stale(project, instance) == {}
    assert events(project, instance) == []


def test_files_of_another_version_are_not_reported(project: Project, instance: dg.DagsterInstance):
    old = (project.root / "dvc.lock").read_text()
    events(project, instance)
    project.setting("evaluate: {}\n    release: {}\n  two", "evaluate: {gallery: 7}\n    release: {}\n  two")
    project.dvc("repro", "-s", "report@one")
    assert "one/report" in events(project, instance)
    (project.root / "dvc.lock").write_text(old)
    assert pipeline.other_files(project.root, project.stages) == ["report@one"]
    assert "one/report" not in events(project, instance)
    project.dvc("checkout", "--force", "--allow-missing")
    assert "one/report" in events(project, instance)


def test_a_setting_makes_its_stage_and_what_follows_stale(project: Project, instance: dg.DagsterInstance):
    events(project, instance)
    project.setting(
        "  one:\n    ingest: {}\n    encode: {}\n    pretrain: {}",
        "  one:\n    ingest: {}\n    encode: {}\n    pretrain: {epochs: 3}",
    )
    assert set(stale(project, instance)) - set(TWO) == {"one/words"}
    assert {address for address in pipeline_status(project) if "one" in address} == {"words@one"}
    assert project.materialize(instance, "one/words").success
    # the same words came out: nothing that follows is stale, for either
    assert set(stale(project, instance)) == set(TWO)


def test_a_change_of_code_makes_only_its_stage_stale(project: Project):
    before = {stage.address: stage.code_version for stage in project.stages}
    (project.root / "steps" / "report.py").write_text(STEPS["report"] + "# more\n")
    after = {stage.address: stage.code_version for stage in project.stages}
    assert {address for address in before if before[address] != after[address]} == {"report@one", "report@two"}


def test_a_changed_part_that_nobody_reads_leaves_the_reader_fresh(project: Project, instance: dg.DagsterInstance):
    events(project, instance)
    project.setting("evaluate: {}\n    release: {}\n  two", "evaluate: {gallery: 7}\n    release: {}\n  two")
    project.dvc("repro", "-s", "report@one")
    assert events(project, instance) == ["one/report", "one/book"]
    assert not [key for key in stale(project, instance) if key.startswith("one/")]
    assert "book@one" not in pipeline_status(project)


def test_a_catalogue_edited_in_place_is_recorded(project: Project, instance: dg.DagsterInstance):
    (project.root / "data" / "one" / "catalog" / "text.txt").write_text("another text")
    assert project.materialize(instance, "one/letters").success
    assert {address for address in pipeline_status(project) if "one" in address} == {"words@one"}
    assert "one/letters" not in stale(project, instance)


def test_what_is_in_the_cache_or_the_remote_is_not_made_again(project: Project, instance: dg.DagsterInstance):
    """A folder removed, then all that this machine has: nothing is run, and everything is as it was recorded."""
    nouns = ("letters", "words", "report", "book")
    text = (project.root / "data/one/words/words.txt").read_text()
    project.dvc("remote", "add", "--default", "far", str(project.root.parent / "far"))
    project.dvc("push", *(f"{noun}@one" for noun in nouns))
    project.dvc("push", "data/one/catalog.dvc")
    shutil.rmtree(project.root / "data/one/words")
    done = project.materialize(instance, *(f"one/{noun}" for noun in nouns))
    assert [made(done, f"one/{noun}").metadata["ran"].value for noun in nouns] == [
        False,
        "restored from the cache",
        False,
        False,
    ]
    assert (project.root / "data/one/words/words.txt").read_text() == text
    for noun in (*nouns, "catalog"):
        shutil.rmtree(project.root / "data/one" / noun)
    shutil.rmtree(project.root / ".dvc/cache")
    done = project.materialize(instance, *(f"one/{noun}" for noun in nouns))
    assert done.success
    assert {made(done, f"one/{noun}").metadata["ran"].value for noun in nouns} == {"pulled from the remote"}
    assert (project.root / "data/one/words/words.txt").read_text() == text
    # the files are here and the cache is lost: nothing is made anew
    shutil.rmtree(project.root / ".dvc/cache")
    done = project.materialize(instance, "one/words")
    assert made(done, "one/words").metadata["ran"].value == "kept, and put into the cache again"
    # what neither has is made
    shutil.rmtree(project.root / "data/one/words")
    shutil.rmtree(project.root / ".dvc/cache")
    shutil.rmtree(project.root.parent / "far")
    done = project.materialize(instance, "one/words")
    assert made(done, "one/words").metadata["ran"].value is True


def test_overrides_of_a_run_are_kept_and_dvc_agrees(project: Project, instance: dg.DagsterInstance):
    done = project.materialize(instance, "one/letters", config={"settings": ["ingest.image_size=32"]})
    assert done.success
    assert (project.root / "data/one/letters/letters.txt").read_text().endswith("32")
    assert "    ingest: {image_size: 32}\n" in (project.root / "params.yaml").read_text()
    assert "letters@one" not in pipeline_status(project)
    assert "one/letters" not in stale(project, instance)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("ingest.image_siz=32", "did you mean 'image_size'?"),
        ("ingest.image_size=-1", "must be above 0"),
        ("pretrain.lr=1", "is no setting of letters"),
    ],
)
def test_a_wrong_override_fails_before_anything_runs(project, instance, setting, told):
    before = (project.root / "params.yaml").read_text()
    done = project.materialize(instance, "one/letters", config={"settings": [setting]})
    assert not done.success
    assert told in failure(done)
    assert (project.root / "params.yaml").read_text() == before


def test_a_users_mistake_is_shown_as_the_cli_shows_it(project: Project, instance: dg.DagsterInstance):
    (project.root / "data" / "one" / "catalog" / "text.txt").write_text("7")
    done = project.materialize(instance, "one/letters", "one/words")
    assert failure(done) == "CatalogError: a digit\n  where: text.txt, line 1\n         7\n  mend:  take it out"
    assert done.get_step_failure_events()[0].step_failure_data.error.cls_name == "Failure"
    assert (project.root / "data/one/letters/letters.txt").read_text().startswith("THE TEXT OF ONE")


def test_another_failure_shows_its_last_lines(project: Project, instance: dg.DagsterInstance):
    (project.root / "data" / "one" / "catalog" / "text.txt").write_text("!")
    told = failure(project.materialize(instance, "one/letters"))
    assert "ended with code 1" in told
    assert told.endswith("RuntimeError: broken on purpose")


def made(done: dg.ExecuteInProcessResult, key: str) -> dg.AssetMaterialization:
    (event,) = [
        event.materialization
        for event in done.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey.from_user_string(key)
    ]
    return event


def failure(done: dg.ExecuteInProcessResult) -> str:
    return done.get_step_failure_events()[0].step_failure_data.user_failure_data.description


def pipeline_status(project: Project, *addresses: str) -> dict[str, list[str]]:
    return versioning.status(project.root, *addresses)
