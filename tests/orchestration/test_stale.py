"""The project's own dvc.yaml over a copy of the library: what makes which stage stale, for DVC, Dagster and mufin."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from mufin_dagster import assets, pipeline, stale, status, versioning
from mufin_dagster.sync import outside_events
from mufin_model.artefacts import NOUNS, VERBS, Workspace
from mufin_model.config import STAGES
from mufin_model.errors import LibraryError
from mufin_model.fingerprint import record

REPOSITORY = Path(__file__).parents[2]
MUFIN = str(Path(sys.executable).with_name("mufin"))
WEIGHTS = "models/x.safetensors"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All nine stages recorded, by placeholders in place of artefacts: DVC asks for bytes and for what made them."""
    root = tmp_path_factory.mktemp("stale")
    for name in ("mufin_model", "mufin_dagster"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(REPOSITORY / name, root / name)
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    own: dict[str, object] = {"seed": None, **{stage: {} for stage in STAGES}}
    own["encode"] = {"image_backbone": "resnet10t", "image_weights": WEIGHTS}
    params |= {"datasets": ["demo"], "per_dataset": {"demo": own}}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "models").mkdir()
    (root / WEIGHTS).write_bytes(b"one")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    versioning.dvc(root, "init", "-q")
    (root / "data/demo/catalog").mkdir(parents=True)
    (root / "data/demo/catalog/items.csv").write_text("id,text\n")
    versioning.dvc(root, "add", "-q", "data/demo/catalog")
    for stage in pipeline.load(root):
        for out in stage.outs:
            path = root / out
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.suffix:
                path.mkdir()
                path /= "file"
            path.write_text(stage.noun)
    for noun in NOUNS.values():
        versioning.dvc(root, "commit", "-f", f"{noun}@demo")
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    shutil.copytree(template, root, symlinks=True)
    monkeypatch.setenv("MUFIN_ROOT", str(root))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return root


def judged(root: Path) -> dict[str, list[str]]:
    """Verb to reasons, of the stages whose own inputs changed; all four judges must agree on which."""
    stages = pipeline.load(root)
    reasons = stale.reasons(root, stages)
    assert set(versioning.status(root)) == set(reasons)
    locked = pipeline.read_lock(root, stages)
    assert {one.address for one in stages if one.code_version != locked[one.address].code_version} == set(reasons)
    told = {one.noun: one.why for one in status.states(Workspace(root)) if one.state == "stale"}
    assert {noun for noun, why in told.items() if not why.startswith("follows")} == {a.split("@")[0] for a in reasons}
    with dg.DagsterInstance.ephemeral() as instance:
        for event in outside_events(instance, Workspace(root), stages):
            instance.report_runless_asset_event(event)
        graph = dg.Definitions(assets=assets.build(Workspace(root), stages)).resolve_asset_graph()
        for stage in stages:
            event = instance.get_latest_materialization_event(assets.key(stage)).asset_materialization
            same = event.tags["dagster/code_version"] == graph.get(assets.key(stage)).code_version
            assert same == (stage.address not in reasons)
    return {VERBS[address.split("@")[0]]: why for address, why in reasons.items()}


def edit(root: Path, name: str, old: str, new: str) -> None:
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new, 1))


def append(root: Path, name: str, line: str = "ADDED = 1") -> None:
    (root / name).write_text((root / name).read_text() + f"\n{line}\n")


def test_words_and_what_no_stage_imports_make_nothing_stale(root: Path):
    for path in (root / "mufin_model").rglob("*.py"):
        path.write_text("# a comment\n" + path.read_text())
    edit(root, "mufin_model/losses/softmax.py", '"""', '"""More words. ')
    append(root, "mufin_model/cli.py")
    append(root, "mufin_dagster/sync.py")
    assert judged(root) == {}


@pytest.mark.parametrize(
    ("name", "stale_verbs", "fresh_verbs"),
    [
        ("mufin_model/arrays.py", set(NOUNS), set()),
        ("mufin_model/config.py", set(NOUNS), set()),
        ("mufin_model/artefacts.py", set(NOUNS), set()),
        ("mufin_model/catalog/readers/polyvore.py", {"ingest"}, set(NOUNS) - {"ingest"}),
        ("mufin_model/catalog/catalog.py", set(NOUNS) - {"ingest"}, {"ingest"}),
        ("mufin_model/losses/triplet.py", {"pretrain", "finetune", "predict"}, {"ingest", "encode", "index", "mine"}),
        ("mufin_model/encoders/handmade.py", {"encode", "pretrain", "predict"}, {"ingest", "index", "mine"}),
        ("mufin_model/evaluation/metrics.py", {"pretrain", "evaluate", "release"}, {"ingest", "encode", "mine"}),
        ("mufin_model/evaluation/report.html.j2", {"evaluate"}, set(NOUNS) - {"evaluate"}),
        ("mufin_dagster/quality/suites/predictions.py", {"release"}, set(NOUNS) - {"release"}),
    ],
)
def test_a_change_of_code_makes_stale_what_imports_it(
    root: Path, name: str, stale_verbs: set[str], fresh_verbs: set[str]
):
    append(root, name)
    found = judged(root)
    assert set(found) >= stale_verbs
    assert not set(found) & fresh_verbs
    assert all(why == [f"code: {name} changed"] for why in found.values())


def test_a_version_of_a_library_counts_where_it_is_imported(root: Path, monkeypatch):
    real = record.version
    monkeypatch.setattr(record, "version", lambda name: "99.0" if name == "faiss" else real(name))
    found = judged(root)
    assert set(found) == {"index", "mine", "predict", "release"}
    assert found["index"] == [f"faiss {real('faiss')} -> 99.0"]


def test_the_build_of_a_library_does_not(monkeypatch):
    monkeypatch.setattr(record.metadata, "version", lambda name: "2.13.0+cu130")
    assert record.version("torch") == "2.13.0"


def test_other_weights_under_the_same_name_make_encode_stale(root: Path):
    (root / WEIGHTS).write_bytes(b"two")
    found = judged(root)
    assert list(found) == ["encode"]
    (line,) = found["encode"]
    assert line.startswith(f"weights {WEIGHTS} changed (")


def test_a_lock_from_before_fingerprints_is_stale_once(root: Path):
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    for entry in lock["stages"].values():
        del entry["params"][record.FILE]
    (root / "dvc.lock").write_text(yaml.safe_dump(lock))
    found = judged(root)
    assert set(found) == set(NOUNS)
    assert set(map(tuple, found.values())) == {("code, libraries and weights: not recorded yet",)}


# which library runs


def mufin(root: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The console script of this installation, whose library is the repository's."""
    whole = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | env
    return subprocess.run([MUFIN, *arguments], cwd=root, env=whole, capture_output=True, text=True)


def test_another_library_than_the_projects_is_refused(root: Path):
    append(root, "mufin_model/retrieval/mine.py")
    lock = (root / "dvc.lock").read_bytes()
    done = mufin(root, "mine", "-d", "demo")
    assert done.returncode == 2
    assert done.stderr.startswith("LibraryError: the library that runs is not the one that is recorded")
    assert "code: mufin_model/retrieval/mine.py changed" in done.stderr
    assert "pip install -e ." in done.stderr
    env = versioning.environment(root)
    repro = [sys.executable, "-m", "dvc", "repro", "mined_negatives@demo"]
    done = subprocess.run(repro, cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode
    assert "LibraryError" in done.stderr
    assert (root / "dvc.lock").read_bytes() == lock
    # the stage's own command too, where the file was written by somebody else
    pipeline.load(root)
    done = mufin(root, "mine", "-d", "demo", DVC_STAGE="mined_negatives@demo")
    assert done.returncode == 2
    assert "LibraryError" in done.stderr


def test_an_equal_copy_elsewhere_is_right(root: Path):
    edit(root, "mufin_model/retrieval/mine.py", '"""', '"""More words. ')
    for env in ({}, {"DVC_STAGE": "mined_negatives@demo"}):
        done = mufin(root, "mine", "-d", "demo", **env)
        assert "LibraryError" not in done.stderr
        assert "ArtefactError" in done.stderr or "summary.json" in done.stderr  # it read the placeholders
    assert mufin(root, "fingerprint").returncode == 0


def test_a_project_without_a_copy_records_the_library_that_runs(root: Path):
    for name in ("mufin_model", "mufin_dagster"):
        shutil.rmtree(root / name)
    assert judged(root) == {}
    assert mufin(root, "fingerprint").returncode == 0


def test_other_versions_than_recorded_are_refused(root: Path, monkeypatch):
    monkeypatch.setenv(record.IN_STAGE, "anns_index@demo")
    asked = record.begin(root, "demo", "index")
    record.end(root, "demo", "index", asked)
    real = record.version
    monkeypatch.setattr(record, "version", lambda name: "99.0")
    with pytest.raises(LibraryError) as caught:
        record.begin(root, "demo", "index")
    assert f"faiss {real('faiss')} -> 99.0" in caught.value.rows


def test_code_that_changes_while_a_stage_runs_is_not_recorded(root: Path, monkeypatch):
    monkeypatch.setenv(record.IN_STAGE, "anns_index@demo")
    asked = record.begin(root, "demo", "index")
    append(root, "mufin_model/retrieval/label_index.py")
    pipeline.load(root)
    with pytest.raises(LibraryError, match="changed while it ran"):
        record.end(root, "demo", "index", asked)


def test_weights_fetched_by_the_stage_are_noted(root: Path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(root / "hub"))
    edit(root, "params.yaml", WEIGHTS, "hub")
    (before,) = [stage for stage in pipeline.load(root) if stage.noun == "encoder_embeddings"]
    assert before.fingerprint["weights"] == {"hub: timm/resnet10t": None}
    monkeypatch.setenv(record.IN_STAGE, before.address)
    asked = record.begin(root, "demo", "encode")
    ref = root / "hub/models--timm--resnet10t.c3_in1k/refs/main"
    ref.parent.mkdir(parents=True)
    ref.write_text("1" * 40)
    record.end(root, "demo", "encode", asked)
    (after,) = [stage for stage in pipeline.load(root) if stage.noun == "encoder_embeddings"]
    assert after.fingerprint["weights"]["hub: timm/resnet10t"] == f"c3_in1k {'1' * 40}"
    assets._unchanged(before, after)


def test_weights_that_another_launch_names_do_not_end_a_run(root: Path, monkeypatch):
    (before,) = [stage for stage in pipeline.load(root) if stage.noun == "encoder_embeddings"]
    monkeypatch.setenv(record.IN_STAGE, before.address)
    asked = record.begin(root, "demo", "encode")
    edit(root, "params.yaml", WEIGHTS, "models/y.safetensors")
    (after,) = [stage for stage in pipeline.load(root) if stage.noun == "encoder_embeddings"]
    assert after.fingerprint["weights"] == {"models/y.safetensors": "missing"}
    record.end(root, "demo", "encode", asked)
    assets._unchanged(before, after)
    (root / WEIGHTS).write_bytes(b"two")
    edit(root, "params.yaml", "models/y.safetensors", WEIGHTS)
    pipeline.load(root)
    with pytest.raises(LibraryError, match="changed while it ran"):
        record.end(root, "demo", "encode", asked)


def test_dagster_runs_the_projects_copy_and_never_paths_first(root: Path, tmp_path: Path, monkeypatch):
    other = tmp_path / "bin" / "mufin"
    other.parent.mkdir()
    other.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
    other.chmod(0o755)
    # an interpreter without a `mufin` beside it
    monkeypatch.setattr(versioning, "environment", lambda root: os.environ | {"PATH": f"{other.parent}:/bin:/usr/bin"})
    monkeypatch.setattr("mufin_dagster.machine.environment", versioning.environment)
    append(root, "mufin_model/catalog/ingest.py", "raise RuntimeError('broken on purpose')")
    lock = (root / "dvc.lock").read_bytes()
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            assets.build(Workspace(root), pipeline.load(root)),
            selection=dg.AssetSelection.assets(["demo", "raw_descriptors"]),
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
        (failed,) = done.get_step_failure_events()
    assert "broken on purpose" in failed.step_failure_data.user_failure_data.description
    assert not (tmp_path / "called").exists()
    assert (root / "dvc.lock").read_bytes() == lock
