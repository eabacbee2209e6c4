"""What runs on a Ray worker: one stage's command, for a step that waits on another machine.

The folder it works in is the project's own, seen under the same path, or one made for it alone, with the inputs
fetched and what it leaves sent back. Imports neither Dagster nor DVC: a worker needs the library and Ray.
"""

from __future__ import annotations

import hashlib
import os
import queue
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import mufin_model
from mufin_dagster import process
from mufin_dagster.process import Ended
from mufin_dagster.travel import Store, digest_of, prune
from mufin_dagster.versioning import command, environment
from mufin_model.artefacts import Workspace
from mufin_model.errors import ArtefactError, MufinError, SettingError
from mufin_model.training.launch import NODE

SCRATCH = "MUFIN_SCRATCH"
"""Environment variable of a worker: the local disk that it works on."""
POLL_SECONDS = 2.0
"""How long the waiting step is left without an answer."""


@dataclass(frozen=True)
class Task:
    """One stage's command, and where its files are.

    `inputs` (path to digest) and `outs` (paths) are used where `url` is given; else `root` is seen by all.
    """

    dataset: str
    noun: str
    cmd: str
    root: str
    library: str
    env: Mapping[str, str]
    url: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    outs: tuple[str, ...] = ()
    checkpoint: float = 15.0
    cache_gb: float = 50.0


@dataclass(frozen=True)
class Outcome:
    """How the command ended, what it left (path to digest) and the figures it noted."""

    ended: Ended
    left: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    usage: Mapping[str, float] = field(default_factory=dict)


class Runner:
    """The actor: runs a task on a thread, and hands out what it writes."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        self._outcome: Outcome | None = None
        self._thread: threading.Thread | None = None

    def place(self) -> str:
        """Name of this node, as Ray's own dashboard has it, and which GPUs this actor was given."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        return f"{socket.gethostname()} (node {node[:12]})" + (f", GPU {gpus}" if gpus else "")

    def meeting_point(self) -> str:
        """host:port of this node for the processes of one training."""
        with socket.socket() as free:
            free.bind(("", 0))
            return f"{node_address()}:{free.getsockname()[1]}"

    def start(self, task: Task) -> None:
        """Begin; ask `more` for what comes of it."""
        self._thread = threading.Thread(target=self._run, args=(task,), daemon=True)
        self._thread.start()

    def more(self) -> tuple[list[str], Outcome | None]:
        """What was written since, after a while at most, and how it ended where it has."""
        lines = []
        with suppress(queue.Empty):
            lines.append(self._lines.get(timeout=POLL_SECONDS))
            while True:
                lines.append(self._lines.get_nowait())
        return lines, self._outcome if self._lines.empty() else None

    def _run(self, task: Task) -> None:
        try:
            self._outcome = run(task, self._lines.put)
        except MufinError as error:
            self._outcome = Outcome(Ended(process.MAY_PASS if error.may_pass else 2, str(error), str(error)))
        except Exception as error:  # whatever a store or disk raises; the step decides whether it may pass
            self._outcome = Outcome(Ended(1, f"{type(error).__name__}: {error}", None))


def node_address() -> str:
    """This node's address within the cluster."""
    import ray

    return str(ray.util.get_node_ip_address())


def library() -> str:
    """A hash of the library's code: what a worker runs must be what the project records."""
    folder = Path(mufin_model.__file__).parent
    found = [f"{file.relative_to(folder)} {digest_of(file)}" for file in sorted(folder.rglob("*.py"))]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]


def run(task: Task, forward: Callable[[str], None]) -> Outcome:
    """Run a task here.

    Raises:
        SettingError: this machine has another library, or does not see the project's folder.
        ArtefactError: an input did not arrive whole.
    """
    if (mine := library()) != task.library:
        raise SettingError(
            f"the worker's library is another one ({mine}, the project's is {task.library})",
            where=f"worker {socket.gethostname()}",
            mend="install the same version on every node, or use the same image",
        )
    with _folder(task, forward) as workspace:
        for name in task.outs:
            (workspace.root / name).parent.mkdir(parents=True, exist_ok=True)
        with _checkpoints(task, workspace, forward):
            env = environment(workspace.root) | dict(task.env)
            ended = process.run(command(task.cmd), cwd=workspace.root, env=env, forward=forward)
        left = {}
        if task.url and not ended.code and _writes(task):
            store = Store(task.url)
            left = {name: store.push(workspace.root / name) for name in task.outs}
            _checkpoint_store(task).clear()
        seconds = workspace.seconds(task.dataset).get(task.noun)
        return Outcome(ended, left, seconds, workspace.usage(task.dataset, task.noun))


@contextmanager
def _folder(task: Task, forward: Callable[[str], None]) -> Iterator[Workspace]:
    if not task.url:
        if not (Path(task.root) / "params.yaml").is_file():
            raise SettingError(
                f"worker {socket.gethostname()} does not see the project's folder",
                where=task.root,
                mend="mount it there under the same path, or set execution.work to a URL both can reach",
            )
        yield Workspace(Path(task.root))
        return
    scratch = Path(os.environ.get(SCRATCH) or Path(tempfile.gettempdir()) / f"mufin-{os.getuid()}")
    cache = scratch / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    prune(cache, task.cache_gb)
    with tempfile.TemporaryDirectory(prefix="step-", dir=scratch, ignore_cleanup_errors=True) as folder:
        began = time.monotonic()
        store = Store(task.url, cache)
        for name, digest in task.inputs.items():
            store.fetch(digest, Path(folder) / name)
        forward(f"{len(task.inputs)} inputs fetched in {time.monotonic() - began:.1f} s")
        yield Workspace(Path(folder))


@contextmanager
def _checkpoints(task: Task, workspace: Workspace, forward: Callable[[str], None]) -> Iterator[None]:
    """Take up the checkpoint that another worker left, and send each new one, so that another can go on."""
    if not task.url:
        yield
        return
    store, state = _checkpoint_store(task), workspace.state(task.dataset, task.noun)
    try:
        if digest := store.named("last"):
            store.fetch(digest, state)
            forward("checkpoint fetched")
    except ArtefactError as error:
        forward(f"the checkpoint is not whole, starting anew: {error.what}")
    if not _writes(task):
        yield
        return
    stop = threading.Event()
    watcher = threading.Thread(target=_send_checkpoints, args=(task, state, stop), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def _send_checkpoints(task: Task, state: Path, stop: threading.Event) -> None:
    """A look every few seconds and one at the end; a store that is away costs a checkpoint, not the training."""
    sent: dict[str, int] = {}
    while True:
        over = stop.wait(task.checkpoint)
        try:
            found = {file.name: file.stat().st_mtime_ns for file in state.glob("*.pt")}
            if found and found != sent:
                with tempfile.TemporaryDirectory(dir=state.parent) as folder:
                    for name in found:  # links: a checkpoint is replaced, never written to
                        os.link(state / name, Path(folder) / name)
                    store = _checkpoint_store(task)
                    digest = store.push(Path(folder))
                store.name("last", digest)
                store.keep(digest)
                sent = found
        except Exception as error:
            print(f"checkpoint not sent: {error}", flush=True)
        if over:
            return


def _checkpoint_store(task: Task) -> Store:
    return Store(f"{task.url.rstrip('/')}/checkpoints/{task.dataset}/{task.noun}")


def _writes(task: Task) -> bool:
    """Whether this is the node of a training that leaves its result."""
    return task.env.get(NODE, "0") == "0"
