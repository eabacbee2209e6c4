"""Accuracy on a test set beside the baselines, one table: each model trained anew, the test set looked at once.

    python -m benchmarks.accuracy DATASET_DIR [--preset best] [--seeds 3] [--ablations best] [--out table.md]

DATASET_DIR is a folder in the generic catalogue format. Settings are the project's params.yaml; every choice made
in a run (the kernel of the ridge, the fusion) uses labelled items left out, never the test set. Rows: the baselines
of the report; one model trained on images alone and one on text alone; each preset; where there are several seeds, the
mean of the first preset's scores over them; with `--ablations`, a preset less or more one part at a time. Figures are
means over seeds, of each item too: differences in P@1 to the first preset, or to the row that `--against` names, have
95 % intervals by paired bootstrap over the items: what another training would give is not in them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from threading import Lock
from typing import Annotated

import numpy as np
import torch
import typer
from scipy.sparse import csr_matrix, load_npz, vstack

from mufin_model import config
from mufin_model.artefacts import NOUNS, Workspace, read_json, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.propensity import inverse_propensity
from mufin_model.evaluation import baselines, table
from mufin_model.evaluation.evaluate import interval, zero_shot
from mufin_model.evaluation.metrics import RowMetrics, row_metrics, without
from mufin_model.network.store import stamps
from mufin_model.release.provenance import code_version

NAME = "benchmark"
VERBS = ("ingest", "encode", "pretrain", "index", "mine", "finetune", "predict")
COLUMNS = ("P@1", "P@3", "P@5", "nDCG@5", "PSP@1", "PSP@5", "R@10", "zero-shot R@10", "minutes")

ABLATIONS: dict[str, dict[str, list[str]]] = {
    "best": {
        "no A_S": ["pretrain.self_attention=false"],
        "no re-ranker": ["predict.components=[ridge, classifier, siamese, head, neighbours, frequency]"],
        "no ridge": ["finetune.ridge=false"],
        "no ridge, no neighbours": [
            "finetune.ridge=false",
            "predict.components=[classifier, siamese, head, frequency]",
        ],
        "no one-vs-all head": ["pretrain.head=none"],
        "no neighbour loss": ["pretrain.neighbour_weight=0"],
        "no label prototypes": ["pretrain.prototypes=0"],
        "balanced positives": ["pretrain.balanced_positives=true"],
        "no clustered batches": ["pretrain.cluster_after=1000000"],
    },
    "mufin": {
        "no A_S": ["pretrain.self_attention=false"],
        "no A_C": ["finetune.cross_attention=false"],
        "no free classifiers": ["finetune.classifiers=false"],
        "no A_C, no free classifiers": ["finetune.cross_attention=false", "finetune.classifiers=false"],
        "siamese score alone": ["predict.components=[siamese]"],
        "classifiers alone": ["predict.components=[classifier]"],
        "no A_C, classifiers alone": ["finetune.cross_attention=false", "predict.components=[classifier]"],
        "softmax loss": ["pretrain.loss=softmax"],
        "end to end": ["finetune.end_to_end=true"],
        "early fusion": ["pretrain.early_fusion=true"],
        "label prototypes": ["pretrain.prototypes=512"],
        "dynamic margin": ["pretrain.dynamic_margin=true"],
        "balanced positives": ["pretrain.balanced_positives=true"],
        "no clustered batches": ["pretrain.cluster_after=1000000"],
    },
}


@dataclass(frozen=True)
class Run:
    """One model to train: its row, its settings, its seed."""

    row: str
    overrides: list[str]
    seed: int


def main(
    dataset_dir: Annotated[Path, typer.Argument(help="A folder in the generic catalogue format.")],
    preset: Annotated[
        list[str] | None, typer.Option(help="Presets to train; repeatable. First: the reference.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each row, with following seeds.")] = 1,
    ablations: Annotated[
        list[str] | None, typer.Option(help=f"A preset to vary one part at a time; repeatable: {', '.join(ABLATIONS)}.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="The trained row that all are compared with, in place of the first preset.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Models trained at once, shared out over the GPUs.")] = 1,
    setting: Annotated[list[str] | None, typer.Option("--set", "-S", help="For every model, after its preset.")] = None,
    out: Annotated[Path | None, typer.Option(help="Append the table to this Markdown file.")] = None,
    work: Annotated[
        Path | None, typer.Option(help="Keep what is made; equal catalogue and code go on from it.")
    ] = None,
) -> None:
    """Train, evaluate on test once, print one table."""
    presets = preset or ["best", "mufin"]
    base = [f"preset={presets[0]}"]
    rows = {"images alone": [*base, "pretrain.modalities=[image]"], "text alone": [*base, "pretrain.modalities=[text]"]}
    for varied in ablations or []:
        rows |= {f"{varied}, {name}": [f"preset={varied}", *over] for name, over in ABLATIONS[varied].items()}
    rows |= {name: [f"preset={name}"] for name in reversed(presets)}
    if against not in (None, *rows):
        raise typer.BadParameter(f"{against!r} is no trained row; there are {', '.join(rows)}", param_hint="--against")
    params = Workspace.find().params
    first = config.read(params)["seed"]
    runs = [Run(row, over + (setting or []), first + i) for row, over in rows.items() for i in range(seeds)]
    with _folder(work) as folder, ThreadPoolExecutor(jobs) as pool:
        made = Made(folder / _named_by(dataset_dir.resolve()), dataset_dir, params)
        done = list(pool.map(made.train, runs))
        text = _table(list(rows), done, presets[0], against or presets[0], dataset_dir.resolve().name, seeds)
    print(text)
    if out is not None:
        with out.open("a") as file:
            file.write(text + "\n")


class Made:
    """What was made so far: a stage whose settings, and those of the stages before it, are another run's is taken from
    there, with the seconds it took.

    Args:
        folder: of all workspaces.
        dataset_dir: the catalogue.
        params: params.yaml.
    """

    def __init__(self, folder: Path, dataset_dir: Path, params: Path) -> None:
        self.folder, self.dataset_dir = folder, dataset_dir.resolve()
        folder.mkdir(exist_ok=True)
        self.settings = params.read_text().replace("datasets:\n", f"datasets:\n  - {NAME}\n", 1)
        self.locks: defaultdict[str, Lock] = defaultdict(Lock)
        self.environments = cycle(_environments())

    def train(self, run: Run) -> tuple[Run, Workspace, float]:
        """Every stage up to predictions in a workspace of its own; that workspace and the minutes it took."""
        workspace = Workspace(self.folder / f"{run.row} {run.seed}".replace(" ", "_").replace(",", ""))
        workspace.dataset(NAME).mkdir(parents=True, exist_ok=True)
        if not workspace.catalog(NAME).exists():
            workspace.catalog(NAME).symlink_to(self.dataset_dir)
        workspace.params.write_text(self.settings)
        overrides = [*run.overrides, f"seed={run.seed}"]
        told = config.load(workspace.params, NAME, overrides).model_dump(mode="json")
        environment = next(self.environments)
        took = {verb: self._stage(verb, workspace, overrides, told, environment) for verb in VERBS}
        minutes = sum(took.values()) / 60
        found = _judge(workspace)(load_npz(workspace.read(NAME, "predictions") / "mufin.npz")).mean()
        shown = ", ".join(f"{name} {100 * found[name]:.1f}" for name in COLUMNS if name in found)
        seconds = ", ".join(f"{verb} {second:.0f}" for verb, second in took.items())
        print(f"{run.row}, seed {run.seed}: {shown}; {minutes:.1f} minutes ({seconds} s)", flush=True)
        return run, workspace, minutes

    def _stage(
        self,
        verb: str,
        workspace: Workspace,
        overrides: list[str],
        settings: dict[str, object],
        environment: dict[str, str],
    ) -> float:
        """Make a stage's artefact, or take it from where it was made; the seconds that it took."""
        before = [settings["seed"], *(settings[name] for name in VERBS[: VERBS.index(verb) + 1])]
        key = hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()[:16]
        note, own = self.folder / f"{verb}-{key}.json", workspace.path(NAME, NOUNS[verb])
        with self.locks[key]:
            if not note.is_file():
                began = time.monotonic()
                words = [word for one in overrides for word in ("-S", one)]
                command = [sys.executable, "-m", "mufin_model.cli", verb, "--dataset", NAME, *words]
                ended = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True, env=environment)
                if ended.returncode:
                    sys.exit(f"{workspace.root.name}: {verb} failed\n{ended.stdout[-2000:]}{ended.stderr[-4000:]}")
                write_json(note, {"seconds": time.monotonic() - began, "at": str(own)})
            made = read_json(note)
        if Path(made["at"]) != own and not own.exists():
            own.symlink_to(made["at"])
        return float(made["seconds"])


def _environments() -> list[dict[str, str]]:
    """One for each GPU, which it alone shows; this process's own where there is none."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    gpus = shown.split(",") if shown else [str(number) for number in range(torch.cuda.device_count())]
    return [{**os.environ, "CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus] or [{**os.environ}]


def _judge(workspace: Workspace) -> Callable[[csr_matrix], RowMetrics]:
    """The figures of scores of a workspace's test items."""
    catalog = Catalog.load(workspace.read(NAME, "raw_descriptors"))
    chosen = config.load(workspace.params, NAME).evaluate
    filters = catalog.filters("test")
    truth = without(catalog.links("test"), filters)
    links = vstack([catalog.links("train"), catalog.links("val")], format="csr")
    counts = np.bincount(links.indices, minlength=catalog.n_seen)
    inverse = inverse_propensity(counts, links.shape[0], chosen.propensity_a, chosen.propensity_b)
    return lambda scores: row_metrics(without(scores, filters), truth, inverse, [1, 3, 5], [10])


def _table(
    rows: Sequence[str],
    done: Sequence[tuple[Run, Workspace, float]],
    reference: str,
    against: str,
    name: str,
    seeds: int,
) -> str:
    anyone = done[0][1]
    catalog = Catalog.load(anyone.read(NAME, "raw_descriptors"))
    filters, judge = catalog.filters("test"), _judge(anyone)
    # Sentence embeddings are the reference's, where its weights are pretrained.
    encoded = next(workspace for run, workspace, _ in done if run.row == reference).read(NAME, "encoder_embeddings")
    simple, skipped = baselines.fit_all(catalog, 10 + int(np.diff(filters.indptr).max(initial=0)), 0, encoded)
    judged = {table.NAMES.get(method, method): [judge(scores)] for method, scores in simple.items()}
    extra: dict[str, dict[str, float]] = {}
    for row in rows:
        mine = [(workspace, minutes) for run, workspace, minutes in done if run.row == row]
        found = [workspace.read(NAME, "predictions") for workspace, _ in mine]
        judged[row] = [judge(load_npz(path / "mufin.npz")) for path in found]
        zero = [zero_shot(catalog, path).get("R@10", float("nan")) for path in found]
        extra[row] = {"zero-shot R@10": float(np.mean(zero)), "minutes": float(np.mean([m for _, m in mine])) / 100}
    for part in ("siamese", "classifier", "head", "neighbours", "ridge", "reranker"):
        found = [
            workspace.read(NAME, "predictions") / f"{part}.npz" for run, workspace, _ in done if run.row == reference
        ]
        if found[0].is_file():
            judged[f"{reference}, {part} alone"] = [judge(load_npz(path)) for path in found]
    if seeds > 1:
        paths = [
            workspace.read(NAME, "predictions") / "mufin.npz" for run, workspace, _ in done if run.row == reference
        ]
        judged[f"{reference}, {seeds} seeds averaged"] = [judge(averaged([load_npz(path) for path in paths]))]
    lines = [f"\n### {name}: {len(catalog.rows('test')):,} test items, {seeds} seed(s), per cent", ""]
    lines.append("| |" + "".join(f" {column} |" for column in COLUMNS) + f" P@1 less {against}'s, 95 % interval |")
    lines.append("|---|" + "---:|" * (len(COLUMNS) + 1))
    for row, results in judged.items():
        means = {k: float(np.mean([r.mean()[k] for r in results])) for k in results[0].names} | extra.get(row, {})
        cells = "".join(f" {100 * means[c]:.1f} |" if c in means else " |" for c in COLUMNS)
        gap = interval(_mean(results), _mean(judged[against]), 0)
        shown = f" {100 * gap['difference']:+.1f} [{100 * gap['low']:+.1f}, {100 * gap['high']:+.1f}] |"
        lines.append(f"| {row} |{cells}{shown if row != against else ' |'}")
    lines += [f"\n{table.NAMES.get(method, method)}: {why}" for method, why in skipped.items()]
    return "\n".join(lines)


def _mean(results: Sequence[RowMetrics]) -> RowMetrics:
    """Each item's metrics, the mean over several models."""
    return replace(results[0], values=np.mean([r.values for r in results], axis=0))


def averaged(scores: Sequence[csr_matrix]) -> csr_matrix:
    """The mean of several models' scores, each item's brought to zero mean and unit deviation; a label that one of them
    does not score counts as its worst there."""
    total = csr_matrix(scores[0].shape, dtype=np.float32)
    for matrix in scores:
        matrix = matrix.copy()
        for row in range(matrix.shape[0]):
            part = matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]]
            if len(part):
                part[:] = (part - part.min()) / (part.std() or 1.0) + 1e-6
        total = total + matrix
    return csr_matrix(total / len(scores))


def _named_by(dataset_dir: Path) -> str:
    """A name of this catalogue and of the library as it is now: nothing made of others may stand in the same table."""
    of = json.dumps([str(dataset_dir), stamps(dataset_dir), code_version()])
    return f"{dataset_dir.name}-{hashlib.sha256(of.encode()).hexdigest()[:12]}"


@contextmanager
def _folder(work: Path | None) -> Iterator[Path]:
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
        yield work.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="mufin-accuracy-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    typer.run(main)
