"""What orchestration costs: the nine assets with no work in them, beside plain calls.

    python -m benchmarks.overhead --times 3

A copy of the project's dvc.yaml in which each command only writes its outputs, a line each; stages, dependencies,
settings and code are the real ones, and the assets are those of the real factory. Quality checks are left out. Each row
is the fastest of several runs, in wall seconds and in CPU seconds of all its processes; Dagster's import, which each
process of a run is forked from, is in none of them.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from pathlib import Path

import dagster as dg
import yaml

from mufin_dagster import assets, execution, home, pipeline, versioning
from mufin_model.artefacts import NOUNS, Workspace

REPOSITORY = Path(__file__).parents[1]
DATASET = "demo"
NOTHING = """\
import sys
from pathlib import Path
for out in sys.argv[1:]:
    path = Path(out) if Path(out).suffix else Path(out) / "nothing.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("nothing")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        project(root)
        os.environ |= {"MUFIN_ROOT": str(root), "DAGSTER_HOME": home.prepare(Workspace(root))["DAGSTER_HOME"]}
        os.chdir(root)
        stages = pipeline.load(root)
        rows: list[tuple[str, Callable[[], None], Callable[[], None]]] = [
            ("plain calls, in one process", lambda: plain(stages), clear),
            ("nine commands in a shell", lambda: commands(stages), clear),
            ("`dvc repro`", repro, clear),
            ("Dagster, a process a step", dagster, clear),
            ("`dvc repro`, nothing changed", repro, lambda: None),
            ("Dagster, nothing changed", dagster, lambda: None),
        ]
        print("| | wall | CPU | CPU a stage |")
        print("|---|--:|--:|--:|")
        for name, run, before in rows:
            wall, cpu = min(measured(run, before) for _ in range(times))
            print(f"| {name} | {wall:.2f} s | {cpu:.2f} s | {cpu / len(NOUNS):.2f} s |", flush=True)


def project(root: Path) -> None:
    """The project with nothing to do, and a catalogue of one line."""
    for name in ("params.yaml", "dagster.yaml", "dvc.yaml", ".gitignore", ".dvcignore"):
        shutil.copyfile(REPOSITORY / name, root / name)
    shutil.copytree(REPOSITORY / "mufin_model", root / "mufin_model", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "nothing.py").write_text(NOTHING)
    document = yaml.safe_load((root / "dvc.yaml").read_text())
    for stage in document["stages"].values():
        outs = [next(iter(out)) for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
        stage["cmd"] = f"python nothing.py {' '.join(outs)}"
    (root / "dvc.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    catalog = root / "data" / DATASET / "catalog"
    catalog.mkdir(parents=True)
    (catalog / "items.txt").write_text("nothing")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    versioning.dvc(root, "init", "-q")
    versioning.dvc(root, "add", "-q", f"data/{DATASET}/catalog")


def clear() -> None:
    """Neither artefacts nor records of them."""
    for noun in NOUNS.values():
        shutil.rmtree(Path("data") / DATASET / noun, ignore_errors=True)
    Path("dvc.lock").unlink(missing_ok=True)
    shutil.rmtree(Path(".dvc") / "cache" / "runs", ignore_errors=True)


def measured(run: Callable[[], None], before: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU seconds; the run is in a process of its own, whose children count."""
    before()
    began, cpu = time.monotonic(), _cpu()
    child = os.fork()
    if child == 0:
        try:
            run()
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise SystemExit("it failed")
    return time.monotonic() - began, _cpu() - cpu


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def plain(stages: Sequence[pipeline.Stage]) -> None:
    for stage in stages:
        sys.argv = ["nothing", *stage.outs]
        exec(NOTHING)


def commands(stages: Sequence[pipeline.Stage]) -> None:
    for stage in stages:
        subprocess.run(stage.cmd, shell=True, env=versioning.environment(Path.cwd()), check=True)


def repro() -> None:
    versioning.dvc(Path.cwd(), "repro", "--quiet")


def dagster() -> None:
    from benchmarks import overhead  # not __main__: steps find the job by its module

    with dg.DagsterInstance.get() as instance:
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        done = dg.execute_job(dg.reconstructable(overhead.nine), instance=instance, run_config=quiet)
        assert done.success
    forkserver._forkserver._stop()  # waited for, it and its children count


def nine() -> dg.JobDefinition:
    """The assets of the factory, on the executor of this machine."""
    workspace = Workspace.find()
    executor = execution.executor(execution.execution(workspace.params), with_checks=False)
    made = assets.build(workspace, pipeline.load(workspace.root))
    job = dg.define_asset_job("nine", selection=dg.AssetSelection.all())
    return dg.Definitions(assets=made, jobs=[job], executor=executor).resolve_job_def("nine")


if __name__ == "__main__":
    main()
