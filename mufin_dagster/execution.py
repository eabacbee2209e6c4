"""Where steps run, and what they need there.

dvc.yaml's `meta.dagster` says what a stage needs, once. `execution.target` of params.yaml (or MUFIN_EXECUTOR, which a
container sets) says where it gets it:

    machine      processes of this machine; the pool `gpu` is as wide as there are GPUs, each step has its own
    ray          this machine waits and records, the stage's command runs on a worker of a Ray cluster
    kubernetes   each step is a pod, with the need as its requests and limits

docs/operations.md tells how to set each up.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import dagster as dg
from pydantic import BaseModel, ConfigDict, Field

from mufin_dagster import alone, launcher, machine
from mufin_dagster.pipeline import Stage
from mufin_dagster.process import Ended
from mufin_dagster.settings import Seconds, section
from mufin_model.artefacts import Workspace
from mufin_model.errors import SettingError

TARGET = "MUFIN_EXECUTOR"
"""Environment variable that wins over `execution.target`: one project, on a laptop and in a pod."""

Target = Literal["machine", "ray", "kubernetes"]
Count = Annotated[int, Field(ge=1)]


class Execution(BaseModel):
    """The section `execution` of params.yaml, which says what each setting means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: Target = "machine"
    steps: Count = 2
    remote_steps: Count = 8
    gpus: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    ray: str = "auto"
    wait: Seconds = 600
    work: str = ""
    checkpoint: Seconds = 15
    cache_gb: Annotated[float, Field(ge=0)] = 50.0


@dataclass(frozen=True)
class Need:
    """What one step takes: CPU cores, memory in GB and GPUs, on each of so many nodes."""

    cpu: int = 1
    memory_gb: float = 1.0
    gpu: int = 0
    nodes: int = 1

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> Need:
        """From a stage's `meta.dagster`."""
        return cls(**{name: meta[name] for name in cls.__dataclass_fields__ if name in meta})


def execution(params: Path) -> Execution:
    """The section `execution`, its target replaced by MUFIN_EXECUTOR where that is set.

    Raises:
        SettingError: a key is unknown, a value out of range, or there is no such target.
    """
    found = section(params, "execution", Execution)
    if (named := os.environ.get(TARGET)) is None:
        return found
    if named not in EXECUTORS:
        raise SettingError(f"no target named {named!r}", where=TARGET, mend=f"one of: {', '.join(EXECUTORS)}")
    return found.model_copy(update={"target": named})


def op_tags(need: Need) -> dict[str, str]:
    """A step's need, as tags of its op: for a person, and in Kubernetes' words.

    On the op and not on a job, whose tags are lost on backfills. Other targets ignore them.
    """
    megabytes = f"{round(need.memory_gb * 1000)}M"
    requests = {"cpu": str(need.cpu), "memory": megabytes}
    limits = {"memory": megabytes} | ({"nvidia.com/gpu": str(need.gpu)} if need.gpu else {})
    pod: dict[str, Any] = {"container_config": {"resources": {"requests": requests, "limits": limits}}}
    if need.gpu > 1:
        # the processes of one training meet in /dev/shm, of which a container has 64 MB unless it is told otherwise
        pod["container_config"]["volume_mounts"] = [{"name": "shm", "mount_path": "/dev/shm"}]
        pod["pod_spec_config"] = {"volumes": [{"name": "shm", "empty_dir": {"medium": "Memory"}}]}
    return {
        "mufin/cpu": str(need.cpu),
        "mufin/memory_gb": str(need.memory_gb),
        "mufin/gpu": str(need.gpu),
        "dagster-k8s/config": json.dumps(pod, sort_keys=True),
    }


def pool(settings: Execution, need: Need) -> str | None:
    """The pool that a step waits in: this machine's GPUs. Ray and Kubernetes hand out their own."""
    return "gpu" if need.gpu and settings.target == "machine" else None


def executor(settings: Execution, with_checks: bool = True) -> dg.ExecutorDefinition:
    """The executor of the target.

    Args:
        settings: the section `execution`.
        with_checks: whether any step will need Great Expectations, whose import takes seconds.

    Raises:
        SettingError: a library that the target needs is not installed.
    """
    return EXECUTORS[settings.target](settings, with_checks)


def run(
    workspace: Workspace, stage: Stage, env: Mapping[str, str], params: Path, forward: Callable[[str], None]
) -> Ended:
    """Run a stage's command to its end, where the target has it run.

    Args:
        workspace: the project.
        stage: whose command it is.
        env: beside the environment that every command has.
        params: the project's params.yaml.
        forward: is given what the command writes, some lines at a time.

    Raises:
        SettingError: the cluster cannot be reached, or has not what the step needs.
        ArtefactError: what a worker read or left is not what was sent.
    """
    settings, need = execution(params), Need.of(stage.meta)
    if settings.target == "ray" and not stage.meta.get("here"):
        from mufin_dagster.cluster import run as run_on_cluster

        return run_on_cluster(workspace, stage, need, settings, env, forward)
    return machine.run(workspace, stage.cmd, need.gpu, machine.gpus(settings.gpus), env, forward)


def _processes(at_once: int, with_checks: bool, name: str) -> dg.ExecutorDefinition:
    """Processes of this machine. Forked from one that has imported what steps share: a step starts in a second."""
    preload = ["mufin_dagster.definitions", "dvc.repo", *(["great_expectations.expectations"] if with_checks else [])]
    configured = dg.multiprocess_executor.configured(
        {"max_concurrent": at_once, "start_method": {"forkserver": {"preload_modules": preload}}}, name=name
    )
    assert isinstance(configured, dg.ExecutorDefinition)
    return launcher.wrapped(
        configured, lambda inner: launcher.Seen(alone.Alone(inner))
    )  # one that waits is seen to live


def _machine(settings: Execution, with_checks: bool) -> dg.ExecutorDefinition:
    return _processes(settings.steps, with_checks, "machine")


def _ray(settings: Execution, with_checks: bool) -> dg.ExecutorDefinition:
    """A step here asks DVC, waits for a worker to run the command, and records.

    DVC's locks hold within one machine, so that no worker may call it; and a worker needs neither Dagster's storage
    nor the project's history.
    """
    return _processes(settings.remote_steps, with_checks, "ray")


def _kubernetes(settings: Execution, with_checks: bool) -> dg.ExecutorDefinition:
    try:
        from dagster_k8s import k8s_job_executor
    except ImportError as error:
        raise SettingError(
            "the target kubernetes needs dagster-k8s", where="execution.target", mend="pip install 'mufin[kubernetes]'"
        ) from error
    configured = k8s_job_executor.configured({"max_concurrent": settings.remote_steps}, name="kubernetes")
    assert isinstance(configured, dg.ExecutorDefinition)
    return launcher.wrapped(configured, alone.Alone)


EXECUTORS: dict[str, Callable[[Execution, bool], dg.ExecutorDefinition]] = {
    "machine": _machine,
    "ray": _ray,
    "kubernetes": _kubernetes,
}
