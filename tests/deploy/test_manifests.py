"""Compose file and Kubernetes manifests against their schemas, and against what the code expects of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mufin_dagster import execution, instance, pipeline

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
# of github.com/compose-spec/compose-spec (Apache-2.0), its descriptions left out
COMPOSE = json.loads((Path(__file__).parent / "compose-spec.json").read_text())
MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())


def documents() -> Iterator[dict[str, Any]]:
    for path in MANIFESTS:
        yield from yaml.safe_load_all(path.read_text())


def complaints(value: Any, kind: str, where: str) -> list[str]:
    """What a value is not, of a kind of the Kubernetes API as its Python client describes it."""
    from kubernetes import client

    if found := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            return [f"{where}: no list"]
        return [said for at, one in enumerate(value) for said in complaints(one, found[1], f"{where}[{at}]")]
    if found := re.fullmatch(r"dict[\[(]str, (.+)[\])]", kind):
        if not isinstance(value, dict):
            return [f"{where}: no mapping"]
        return [said for name, one in value.items() for said in complaints(one, found[1], f"{where}.{name}")]
    plain = {"str": str, "int": int, "bool": bool, "float": float, "datetime": datetime, "object": object}
    if kind in plain:
        fits = isinstance(value, plain[kind]) and (kind == "bool" or not isinstance(value, bool))
        return [] if fits else [f"{where}: {value!r} is no {kind}"]
    model = getattr(client, kind)
    if not isinstance(value, dict):
        return [f"{where}: no {kind}"]
    names = {json_name: name for name, json_name in model.attribute_map.items()}
    said = [f"{where}: {kind} has no {name}" for name in value if name not in names]
    for name, one in value.items():
        if name in names:
            said += complaints(one, model.openapi_types[names[name]], f"{where}.{name}")
    if not said:
        try:  # what it requires
            model(**{names[name]: one for name, one in value.items()})
        except ValueError as error:
            said.append(f"{where}: {error}")
    return said


def kind_of(document: dict[str, Any]) -> str:
    version = document["apiVersion"].rpartition("/")[2]
    return f"{version.capitalize()}{document['kind']}"


def test_compose_is_valid() -> None:
    jsonschema.Draft7Validator(COMPOSE).validate(compose())
    broken = compose()
    broken["services"]["daemon"]["comand"] = ["x"]
    with pytest.raises(jsonschema.ValidationError, match="comand"):
        jsonschema.Draft7Validator(COMPOSE).validate(broken)


def test_compose_publishes_on_loopback_and_holds_no_secret() -> None:
    services = compose()["services"]
    assert set(services) == {"webserver", "daemon", "code", "postgres", "minio", "bucket"}
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for name, value in service["environment"].items():
            if re.search("PASSWORD|SECRET|KEY|USER$", name) and name != "POSTGRES_USER":
                assert re.search(r"\$\{\w+:\?set it\}", value), name
        for needed in service.get("depends_on", {}):
            assert needed in services
    assert instance.POSTGRES in services["daemon"]["environment"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_valid(path: Path) -> None:
    found = list(yaml.safe_load_all(path.read_text()))
    assert found
    for document in found:
        assert complaints(document, kind_of(document), document["kind"]) == []


def test_the_check_finds_a_misspelt_key_a_wrong_type_and_what_is_missing() -> None:
    (deployment, *_) = [one for one in documents() if one["kind"] == "Deployment"]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["imagePullPolicies"] = "Always"
    deployment["spec"]["replicas"] = "one"
    told = complaints(deployment, kind_of(deployment), "it")
    assert [text.split(": ", 1)[1] for text in told] == ["'one' is no int", "V1Container has no imagePullPolicies"]
    del container["imagePullPolicies"], container["name"]
    deployment["spec"]["replicas"] = 1
    assert "must not be `None`" in complaints(deployment, kind_of(deployment), "it")[0]


def test_manifests_name_each_other_rightly() -> None:
    named = {(one["kind"], one["metadata"]["name"]) for one in documents()}
    used = json.dumps(list(documents()))
    for name in re.findall(r'"claimName": "([\w-]+)"', used):
        assert ("PersistentVolumeClaim", name) in named
    for name in re.findall(r'"(?:configMapRef|configMap)": {"name": "([\w-]+)"', used):
        assert ("ConfigMap", name) in named
    kustomization = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())
    assert sorted(kustomization["resources"]) == [path.name for path in MANIFESTS]


def test_dagster_takes_the_instance_of_the_config_map(monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster._config import process_config, resolve_to_config_type
    from dagster._core.instance.config import dagster_instance_config_schema
    from dagster_k8s import K8sRunLauncher

    (told,) = (one["data"]["dagster.yaml"] for one in documents() if one["metadata"]["name"] == "mufin-instance")
    config = yaml.safe_load(told)
    monkeypatch.setenv(config["storage"]["postgres"]["postgres_url"]["env"], "postgresql+psycopg2://here/mufin")
    schema = resolve_to_config_type(dagster_instance_config_schema())
    assert process_config(schema, config).errors is None
    assert not process_config(schema, {**config, "storages": {}}).success
    launcher = config["run_launcher"]["config"]
    assert process_config(resolve_to_config_type(K8sRunLauncher.config_type()), launcher).success
    assert {("ConfigMap", name) for name in [launcher["instance_config_map"], *launcher["env_config_maps"]]} <= {
        (one["kind"], one["metadata"]["name"]) for one in documents()
    }


@pytest.mark.parametrize("stage", pipeline.load(REPOSITORY), ids=lambda stage: stage.address)
def test_a_steps_pod_has_what_dvc_yaml_says_it_needs(stage: pipeline.Stage) -> None:
    from dagster_k8s.job import DagsterK8sJobConfig, construct_dagster_k8s_job, get_user_defined_k8s_config

    need = execution.Need.of(stage.meta)
    user = get_user_defined_k8s_config(execution.op_tags(need))
    config = DagsterK8sJobConfig(job_image="mufin", dagster_home="/opt/dagster/home")
    job = construct_dagster_k8s_job(config, ["step"], "step", user_defined_k8s_config=user).to_dict()
    resources = job["spec"]["template"]["spec"]["containers"][0]["resources"]
    memory = f"{round(1000 * stage.meta['memory_gb'])}M"
    assert resources["requests"] == {"cpu": str(stage.meta["cpu"]), "memory": memory}
    expected = {"memory": memory} | ({"nvidia.com/gpu": str(stage.meta["gpu"])} if stage.meta["gpu"] else {})
    assert resources["limits"] == expected


def test_a_pod_of_several_gpus_has_shared_memory() -> None:
    pod = json.loads(execution.op_tags(execution.Need(gpu=4))["dagster-k8s/config"])
    assert pod["container_config"]["resources"]["limits"]["nvidia.com/gpu"] == "4"
    assert pod["container_config"]["volume_mounts"][0]["mount_path"] == "/dev/shm"
    assert pod["pod_spec_config"]["volumes"][0]["empty_dir"] == {"medium": "Memory"}


def test_the_image_runs_the_projects_own_copy_of_the_library() -> None:
    """DVC records that copy; an installed one beside it would be run in its place."""
    text = (REPOSITORY / "Dockerfile").read_text()
    root = re.search(r"\bMUFIN_ROOT=(\S+)", text)
    path = re.search(r"\bPYTHONPATH=(\S+)", text)
    assert root
    assert path
    assert path[1] == root[1]
    assert f"WORKDIR {root[1]}" in text


def test_the_image_is_of_files_that_exist() -> None:
    for line in (REPOSITORY / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY "):
            *sources, _ = line.split()[1:]
            assert all((REPOSITORY / source).exists() for source in sources)
