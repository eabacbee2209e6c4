"""dvc.yaml against the asset graph generated from it."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from mufin_dagster import assets, execution, pipeline
from mufin_model.artefacts import NOUNS, Workspace
from mufin_model.cli import LIBRARY
from mufin_model.config import STAGES
from mufin_model.fingerprint import record

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def written() -> dict[str, dict[str, object]]:
    """dvc.yaml as text, read without DVC's resolver."""
    found = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    del found[pipeline.FINGERPRINT]  # no asset
    return found


@pytest.fixture(scope="module")
def stages() -> tuple[pipeline.Stage, ...]:
    return pipeline.load(REPOSITORY)


@pytest.fixture(scope="module")
def graph(stages: tuple[pipeline.Stage, ...]) -> dg.AssetsDefinition:
    return dg.Definitions(assets=assets.build(Workspace(REPOSITORY), stages)).resolve_asset_graph()


def test_every_stage_is_an_asset_and_a_verb(written, stages, graph):
    datasets = yaml.safe_load((REPOSITORY / "params.yaml").read_text())["datasets"]
    expected = {dg.AssetKey([dataset, noun]) for dataset in datasets for noun in written}
    assert graph.materializable_asset_keys == expected
    assert graph.external_asset_keys == {dg.AssetKey([dataset, "catalog"]) for dataset in datasets}
    assert list(written) == list(NOUNS.values())
    for verb, noun in NOUNS.items():
        assert verb in LIBRARY
        assert written[noun]["cmd"] == f"mufin {verb} --dataset ${{item.dataset}}"


def test_edges_are_the_paths(written, stages, graph):
    outs = {}
    for noun, stage in written.items():
        for kind in ("outs", "metrics", "plots"):
            for out in stage.get(kind, []):
                outs[next(iter(out))] = noun
    for stage in stages:
        told = written[stage.noun]["deps"]
        expected = {dg.AssetKey([stage.dataset, outs.get(dep, "catalog")]) for dep in told}
        assert graph.get(assets.key(stage)).parent_keys == expected


def test_a_stage_depends_on_the_settings_of_its_own_verb(written):
    for verb, noun in NOUNS.items():
        keys = settings_of(written[noun])
        assert verb in keys
        assert f"per_dataset.${{item.dataset}}.{verb}" in keys
        both = {"seed", "per_dataset.${item.dataset}.seed"}
        assert set(keys) in ({verb, f"per_dataset.${{item.dataset}}.{verb}"} | some for some in (set(), both))


def test_a_stage_reads_no_settings_but_those_it_depends_on(written):
    sections = re.compile(rf"settings\.({'|'.join(['seed', *STAGES])})\b")
    for verb, noun in NOUNS.items():
        if verb == "release":  # it records the settings of all stages
            continue
        source = importlib.util.find_spec(LIBRARY[verb][0]).origin
        read = set(sections.findall(Path(source).read_text()))
        assert verb in read
        assert read <= set(settings_of(written[noun]))


def settings_of(stage):
    """The keys of params.yaml among what a stage of dvc.yaml has under `params`."""
    return [key for key in stage["params"] if isinstance(key, str)]


def test_a_stage_depends_on_its_own_fingerprint_which_the_first_stage_writes(written):
    first = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"][pipeline.FINGERPRINT]
    assert first["always_changed"]
    assert first["cmd"] == "mufin fingerprint"
    assert first["outs"] == [{record.FILE: {"cache": False, "persist": True}}]
    for verb, noun in NOUNS.items():
        files = [key for key in written[noun]["params"] if not isinstance(key, str)]
        assert files == [{record.FILE: [f"${{item.dataset}}.{verb}"]}]


def test_what_a_stage_needs_is_on_its_op(stages, graph):
    for stage in stages:
        node = graph.get(assets.key(stage))
        need = execution.Need.of(stage.meta)
        assert node.pools == ({"gpu"} if need.gpu else set())
        assert execution.op_tags(need).items() <= node.assets_def.op.tags.items()
        assert node.group_name == stage.dataset
        assert set(stage.meta["kinds"]) <= node.kinds
        assert stage.desc in node.description
    assert {stage.noun for stage in stages if execution.Need.of(stage.meta).gpu} >= {
        "encoder_embeddings",
        "pretrained_model",
        "finetuned_classifiers",
    }


def test_the_code_location_loads_without_the_heavy_libraries():
    code = (
        "import sys, mufin_dagster.definitions as d; d.dg.Definitions.validate_loadable(d.defs);"
        "print([m for m in ('torch', 'transformers', 'great_expectations', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_help_imports_no_orchestrator():
    code = (
        "import sys, mufin_dagster.cli;"
        "print([m for m in ('dagster', 'dvc', 'torch', 'polars', 'numpy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
