"""A run whose steps are pods: executor, launcher and the manifest's own instance, against an API made up here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mufin_dagster import execution, versioning
from mufin_model.artefacts import Workspace

from .conftest import REPOSITORY, STEPS, Project
from .kubernetes_api import Api


@pytest.fixture
def api(project: Project, tmp_path: Path) -> Iterator[Api]:
    made = Api(tmp_path, project.root, gpus=1)
    yield made
    made.close()


def instance(project: Project, api: Api) -> Path:
    """DAGSTER_HOME as the config map has it, but for the database and the way to the API."""
    manifest = REPOSITORY / "deploy" / "kubernetes" / "instance.yaml"
    maps = [one for one in yaml.safe_load_all(manifest.read_text()) if one["metadata"]["name"] == "mufin-instance"]
    told = yaml.safe_load(maps[0]["data"]["dagster.yaml"])
    home = project.root / ".dagster_home"
    home.mkdir()
    del told["storage"]
    told["compute_logs"]["config"]["base_dir"] = str(home)
    own = {"dagster_home": str(home), "load_incluster_config": False, "kubeconfig_file": str(api.config())}
    told["run_launcher"]["config"] |= own
    (home / "dagster.yaml").write_text(yaml.safe_dump(told))
    return home


@pytest.mark.timeout(1200)
def test_each_step_is_a_pod_with_what_it_needs(project: Project, api: Api) -> None:
    home = instance(project, api)
    assets = [f"{dataset}/{noun}" for dataset in ("one", "two") for noun in ("letters", "words")]
    (project.root / "data" / "one" / "catalog" / "text.txt").write_text("another text")
    env = versioning.environment(project.root) | {"DAGSTER_HOME": str(home), execution.TARGET: "kubernetes"}
    done = subprocess.run(
        [sys.executable, "-m", "mufin_dagster.launch", json.dumps({"launch": "x", "assets": assets, "force": False})],
        cwd=project.root,
        env=env,
        capture_output=True,
        text=True,
    )
    log = api.folder / "pods.log"
    assert done.returncode == 0, done.stderr[-3000:] + (log.read_text()[-3000:] if log.is_file() else "")
    assert not versioning.status(project.root, "words@one", "words@two")

    jobs = {job.labels["dagster/op"]: job for job in api.jobs.values()}
    assert set(jobs) == {name.replace("/", "__") for name in assets}
    for stage in project.stages:
        if stage.noun in ("letters", "words"):
            need, job = execution.Need.of(stage.meta), jobs[f"{stage.dataset}__{stage.noun}"]
            assert job.gpus == need.gpu
            assert job.container["resources"]["requests"]["cpu"] == str(need.cpu)
            assert {mount["mountPath"] for mount in job.container["volumeMounts"]} >= {"/project"}
    first, second = sorted((jobs["one__words"], jobs["two__words"]), key=lambda job: job.began)
    assert first.ended <= second.began  # there is one GPU
    assert Workspace(project.root).path("two", "words").is_dir()
    assert set(STEPS) > {"letters", "words"}
