"""A stage's command on a Ray cluster, seen from the step that waits for it.

    client of the cluster      a worker with what the step needs
    place an actor  ────────>  Runner (worker.py): fetch, run, send back
    its lines, its end <─────
    DVC records here

The worker goes, the node with it: the step fails as one whose command was killed, and is tried again, elsewhere, from
its checkpoint. This process goes: Ray ends the actor, and its guard the command.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mufin_dagster import worker
from mufin_dagster.pipeline import Stage
from mufin_dagster.process import Ended
from mufin_dagster.travel import Store
from mufin_dagster.worker import Outcome, Task
from mufin_model import owners
from mufin_model.artefacts import PARAMS, Workspace
from mufin_model.errors import SettingError
from mufin_model.fingerprint import record
from mufin_model.run_mode import MODE, REFRESH
from mufin_model.training.launch import MEET, NODE, NODES, RANKS

if TYPE_CHECKING:
    from mufin_dagster.execution import Execution, Need

GONE = -9
"""Exit code of a command whose worker went; retries.py tries such a step again."""

REACH_SECONDS = 10.0
"""For the head's port to open."""


def run(
    workspace: Workspace,
    stage: Stage,
    need: Need,
    settings: Execution,
    env: Mapping[str, str],
    forward: Callable[[str], None],
) -> Ended:
    """Run a stage's command on the workers of a cluster that have what it needs.

    Raises:
        SettingError: Ray is not installed, or there is no cluster.
        ArtefactError: what a worker left did not arrive whole.
    """
    task = _task(workspace, stage, settings, env)
    with _connected(settings.ray) as ray, ExitStack() as placed:
        errors = (ray.exceptions.RayError, TimeoutError)
        try:
            runners = _place(ray, need, stage, settings.wait, placed, forward)
            outcome = _follow(ray, runners, _shares(ray, task, need, runners), forward)
        except errors as error:
            told = str(error).strip()
            full = isinstance(error, ray.exceptions.OutOfMemoryError)
            forward(f"the worker {'was ended, its node is out of memory' if full else 'is gone'}: {told}")
            return Ended(GONE, f"{type(error).__name__}: {told}", None, "machine" if full else None)
    if task.url and not outcome.ended.code:
        store = Store(task.url)
        for path, digest in outcome.left.items():
            store.fetch(digest, workspace.root / path)
        if outcome.seconds is not None:
            workspace.took(stage.dataset, stage.noun, outcome.seconds)
        if outcome.usage:
            workspace.used(stage.dataset, stage.noun, outcome.usage)
    return outcome.ended


def _task(workspace: Workspace, stage: Stage, settings: Execution, env: Mapping[str, str]) -> Task:
    """The task, its inputs sent where they have to travel."""
    task = Task(
        dataset=stage.dataset,
        noun=stage.noun,
        cmd=stage.cmd,
        root=str(workspace.root),
        library=worker.library(),
        env=dict(env),
        checkpoint=settings.checkpoint,
        cache_gb=settings.cache_gb,
    )
    if not settings.work:
        return task
    store = Store(settings.work)
    own = [path for path in stage.outs if (workspace.root / path).exists()] if env.get(MODE) == REFRESH else []
    # the command compares the worker's code and libraries with it
    recorded = [record.FILE] if stage.fingerprint else []
    settings_of_run = [env[PARAMS]] if PARAMS in env else []
    paths = ["params.yaml", *settings_of_run, *recorded, *stage.deps, *own]
    inputs = {path: store.push(workspace.root / path) for path in paths}
    return replace(task, url=settings.work, inputs=inputs, outs=stage.outs)


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    try:
        import ray
    except ImportError as error:
        raise SettingError(
            "the target ray needs Ray", where="execution.target", mend="pip install 'mufin[ray]'"
        ) from error
    try:
        _reach(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, namespace="mufin")
    except (OSError, ValueError, RuntimeError) as error:
        raise SettingError(
            f"no Ray cluster at {address!r}",
            where="execution.ray",
            rows=str(error).splitlines()[:2],
            mend="start a node here (`ray start --address=HEAD:6379 --num-cpus=0`), or name ray://HEAD:10001",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Knock at host:port; Ray itself asks a head that is not there for minutes.

    Raises:
        OSError: nobody opens.
    """
    host, _, port = address.rpartition("//")[2].partition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=REACH_SECONDS).close()


def _place(
    ray: Any, need: Need, stage: Stage, wait: float, placed: ExitStack, forward: Callable[[str], None]
) -> list[Any]:
    """One actor a node, on nodes that have what the step needs; they are given back when the block ends.

    Raises:
        TimeoutError: no such node was free in time.
    """
    bundle = {"CPU": need.cpu, "memory": int(need.memory_gb * 1e9)} | ({"GPU": need.gpu} if need.gpu else {})
    if not _fits(ray, bundle, need.nodes):
        forward(f"no {need.nodes} node(s) of the cluster have {_told(bundle)}; waiting for {wait:.0f} s")
    group = ray.util.placement_group([bundle] * need.nodes, strategy="STRICT_SPREAD")
    placed.callback(ray.util.remove_placement_group, group)
    began = time.monotonic()
    if not group.wait(wait):
        raise TimeoutError(f"no {need.nodes} node(s) with {_told(bundle)} were free within {wait:.0f} s")
    actor = ray.remote(worker.Runner)
    runners = []
    for index in range(need.nodes):
        strategy = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(group, index)
        runners.append(
            actor.options(
                num_cpus=need.cpu,
                num_gpus=need.gpu,
                memory=bundle["memory"],
                scheduling_strategy=strategy,
                name=f"{stage.address}:{index}:{owners.token()}",
            ).remote()
        )
        placed.callback(ray.kill, runners[-1])
    places = ray.get([runner.place.remote() for runner in runners])
    forward(f"on {'; '.join(places)}, after {time.monotonic() - began:.1f} s")
    return runners


def _shares(ray: Any, task: Task, need: Need, runners: Sequence[Any]) -> list[Task]:
    """The task as each node has it: one process a GPU, and where those of several nodes meet."""
    env = {**task.env, RANKS: str(max(1, need.gpu))}
    if need.nodes == 1:
        return [replace(task, env=env)]
    env |= {NODES: str(need.nodes), MEET: ray.get(runners[0].meeting_point.remote())}
    return [replace(task, env=env | {NODE: str(index)}) for index in range(need.nodes)]


def _follow(ray: Any, runners: Sequence[Any], tasks: Sequence[Task], forward: Callable[[str], None]) -> Outcome:
    """Hand on what the nodes write until all have ended, or one has failed; the first one's outcome, or the failure."""
    ray.get([runner.start.remote(task) for runner, task in zip(runners, tasks, strict=True)])
    outcomes: dict[int, Outcome] = {}
    asked = {runner.more.remote(): index for index, runner in enumerate(runners)}
    while asked:
        ready, _ = ray.wait(list(asked), num_returns=1)
        for answer in ready:
            index = asked.pop(answer)
            lines, outcome = ray.get(answer)
            if lines:
                forward("\n".join(lines))
            if outcome is None:
                asked[runners[index].more.remote()] = index
                continue
            outcomes[index] = outcome
            if outcome.ended.code:
                return outcome
    return outcomes[0]


def _fits(ray: Any, bundle: Mapping[str, float], nodes: int) -> bool:
    have = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(all(one.get(name, 0) >= amount for name, amount in bundle.items()) for one in have) >= nodes


def _told(bundle: Mapping[str, float]) -> str:
    return f"{bundle['CPU']} CPU, {bundle['memory'] / 1e9:g} GB, {bundle.get('GPU', 0)} GPU"
