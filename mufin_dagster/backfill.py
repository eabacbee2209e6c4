"""Past versions of the data made again, as they were: data, settings and code of a commit, in a folder of their own.

    mufin backfill HEAD~3 v1.2 --dataset demo
    the job `backfill` in the UI: a partition is a version, "Launch backfill" takes many

A version holds what it was made from and DVC's hash of what came out, so that a rebuild is right or wrong, not similar.
The project's own data stay as they are: nothing of them is written, and DVC's cache is shared.
"""
# No `from __future__ import annotations`: Dagster reads the annotation of `config` itself.

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import dagster as dg

from mufin_dagster import pipeline, process, versioning
from mufin_dagster.data_objects import ensure
from mufin_dagster.data_versions import git, history, known, resolve
from mufin_dagster.run_tags import BACKFILL, DATASET, JOB
from mufin_dagster.versioning import VersioningError
from mufin_model import owners
from mufin_model.artefacts import Workspace, tidy
from mufin_model.config import read
from mufin_model.run_mode import AGAIN, MODE

KEPT = ".state/backfill"
"""Where in the dataset's folder the rebuilt reports lie, by commit."""
REPORT = "eval_report"
SHORT = 12


@dataclass(frozen=True)
class Rebuilt:
    """One version of a dataset, made again.

    Attributes:
        commit: its hash.
        dataset: the name.
        same: artefacts whose bytes are those that the version recorded.
        other: artefacts whose bytes are not.
        report: the rebuilt report's folder; None where the pipeline has no report.
    """

    commit: str
    dataset: str
    same: Sequence[str]
    other: Sequence[str]
    report: Path | None

    @property
    def exact(self) -> bool:
        """Whether every artefact came out as recorded."""
        return not self.other

    def __str__(self) -> str:
        of = f"{self.dataset} at {self.commit[:SHORT]}"
        if self.exact:
            return f"{of}: all {len(self.same)} artefacts came out as recorded"
        return f"{of}: other than recorded: {', '.join(self.other)}; as recorded: {', '.join(self.same) or 'none'}"


def rebuild(workspace: Workspace, rev: str, dataset: str, forward: Callable[[str], None]) -> Rebuilt:
    """Run every stage that a version recorded, on the version's data, with its settings and code.

    A stage that kept what was learnt before keeps it again, from the version's own result.

    Args:
        workspace: the project.
        rev: a commit, by any of git's names.
        dataset: one that the version has.
        forward: is given what the stages write.

    Raises:
        VersioningError: there is no such version, it recorded nothing of the dataset, or a stage failed.
        CacheError: its data are neither in the cache nor in the remote.
    """
    commit = resolve(workspace.root, rev)
    ensure(workspace, commit)
    with _past(workspace, commit) as past:
        stages = pipeline.load(past.root)
        recorded = pipeline.read_lock(past.root, stages)
        addresses = [s.address for s in stages if s.dataset == dataset and s.address in recorded]
        if not addresses:
            told = f"{commit[:SHORT]} recorded no stage of {dataset}"
            raise VersioningError(told, where="dvc.lock", mend="`mufin data history` tells which versions hold some")
        versioning.dvc(past.root, "checkout", "--force", "--allow-missing")
        env = versioning.environment(past.root) | {"PYTHONPATH": str(past.root), MODE: AGAIN}
        first = [pipeline.FINGERPRINT] if any(s.fingerprint for s in stages) else []
        command = f"python -m dvc repro --single-item --force --no-run-cache {' '.join([*first, *addresses])}"
        ended = process.run(command, cwd=past.root, env=env, forward=forward)
        if ended.code:
            raise VersioningError(
                f"a stage of {dataset} at {commit[:SHORT]} failed",
                where=f"a clone of {commit[:SHORT]}",
                rows=ended.tail.splitlines()[-10:],
                mend="what the version needs beside its own code (libraries, weights) may have changed since",
            )
        now = pipeline.read_lock(past.root, stages)
        same = [address for address in addresses if now[address].outs == recorded[address].outs]
        return Rebuilt(
            commit,
            dataset,
            [address.partition("@")[0] for address in same],
            [address.partition("@")[0] for address in addresses if address not in same],
            _keep(workspace, past, dataset, commit),
        )


@contextmanager
def _past(workspace: Workspace, commit: str) -> Iterator[Workspace]:
    """A clone of the project at a commit, that shares DVC's cache; gone afterwards."""
    folder = workspace.root / ".dvc" / "tmp" / f"{BACKFILL}.{commit[:SHORT]}.{owners.token()}"
    folder.mkdir(parents=True)
    tidy(folder.parent, f"{BACKFILL}.", folder.stat().st_mtime)
    cache = versioning.dvc(workspace.root, "cache", "dir").strip()
    try:
        git(workspace.root, "clone", "--quiet", "--shared", "--no-checkout", str(workspace.root), str(folder))
        git(folder, "checkout", "--quiet", "--detach", commit)
        versioning.dvc(folder, "cache", "dir", "--local", cache)
        with owners.touched(folder):
            yield Workspace(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keep(workspace: Workspace, past: Workspace, dataset: str, commit: str) -> Path | None:
    """The rebuilt report, to be looked at beside the present one."""
    made = past.path(dataset, REPORT)
    if not made.is_dir():
        return None
    kept = workspace.dataset(dataset) / KEPT / commit[:SHORT]
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(made, kept, ignore=shutil.ignore_patterns(".gitignore"))
    return kept


class Past(dg.Config):
    """Which version of which dataset."""

    dataset: str
    rev: str


def job(workspace: Workspace) -> dg.JobDefinition:
    """The job whose partitions are the versions of all datasets: `demo 1a2b3c4d5e6f`."""

    def versions(_: datetime | None = None) -> list[str]:
        datasets = [str(name) for name in read(workspace.params).get("datasets") or []]
        try:
            return [f"{name} {one.commit[:SHORT]}" for name in datasets for one in reversed(history(workspace, name))]
        except VersioningError:
            return []  # a project without git has no versions

    @dg.dynamic_partitioned_config(
        partition_fn=versions,
        # not the tag by which the runs of a dataset wait for each other: nothing of the present is touched
        tags_for_partition_key_fn=lambda key: {JOB: BACKFILL, f"{DATASET}.{key.split()[0]}": key.split()[0]},
    )
    def config(key: str) -> dict[str, object]:
        dataset, rev = key.split()
        return {"ops": {"rebuild": {"config": {"dataset": dataset, "rev": rev}}}}

    @dg.op(name="rebuild", out=dg.Out(dg.Nothing))
    def again(context: dg.OpExecutionContext, config: Past) -> None:
        (dataset,) = known(workspace, [config.dataset])
        done = rebuild(workspace, config.rev, dataset, context.log.info)
        figures = {"commit": done.commit, "same": ", ".join(done.same), "other": ", ".join(done.other)}
        if done.report:
            figures["report"] = str(done.report)
        context.add_output_metadata(figures)
        context.log.info(str(done))
        if not done.exact:
            raise dg.Failure(str(done), metadata=figures, allow_retries=False)

    @dg.job(name=BACKFILL, config=config, description="A past version of the data made again, and held against it.")
    def made() -> None:
        again()

    return made
