"""A small project with a pipeline of its own: real DVC, real git, real commands, two datasets.

catalog -> letters -> words (gpu) -> report (three outs) -> book (reads one of the three)
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg
import pytest

from mufin_dagster import assets, pipeline, versioning
from mufin_model.artefacts import Workspace

REPOSITORY = Path(__file__).parents[2]

DVC_YAML = """\
stages:
  letters:
    desc: The catalogue in capitals.
    matrix: {dataset: "${datasets}"}
    cmd: python steps/letters.py ${item.dataset}
    deps: ["data/${item.dataset}/catalog", steps/letters.py]
    params: [ingest, "per_dataset.${item.dataset}.ingest"]
    outs: ["data/${item.dataset}/letters": {persist: true}]
    meta: {dagster: {kinds: [python], cpu: 1, memory_gb: 1, gpu: 0}}
  words:
    matrix: {dataset: "${datasets}"}
    cmd: python steps/words.py ${item.dataset}
    deps: ["data/${item.dataset}/letters", steps/words.py]
    params: [pretrain, "per_dataset.${item.dataset}.pretrain"]
    outs: ["data/${item.dataset}/words": {persist: true}]
    meta: {dagster: {kinds: [python], cpu: 2, memory_gb: 3, gpu: 1}}
  report:
    matrix: {dataset: "${datasets}"}
    cmd: python steps/report.py ${item.dataset}
    deps: ["data/${item.dataset}/words", steps/report.py]
    params: [evaluate, "per_dataset.${item.dataset}.evaluate"]
    outs: ["data/${item.dataset}/report/report.html": {persist: true}]
    metrics: ["data/${item.dataset}/report/metrics.json": {persist: true}]
    plots: ["data/${item.dataset}/report/plots": {persist: true}]
  book:
    matrix: {dataset: "${datasets}"}
    cmd: python steps/book.py ${item.dataset}
    deps: ["data/${item.dataset}/report/metrics.json", steps/book.py]
    outs: ["data/${item.dataset}/book": {persist: true}]
"""

COMMON = """\
import json, os, signal, sys, time
from pathlib import Path
from mufin_model import config
from mufin_model.artefacts import Workspace
from mufin_model.cli import guarded, mend
from mufin_model.errors import CatalogError
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
workspace, dataset = Workspace.find(), sys.argv[1]
settings = config.load(workspace.params, dataset)
"""

STEPS = {
    "letters": COMMON
    + """
text = (workspace.catalog(dataset) / "text.txt").read_text()
print("burst\\n" * 50 + "reading")
if "7" in text:
    print(CatalogError("a digit", where="text.txt, line 1", rows=["7"], mend="take it out"), file=sys.stderr)
    sys.exit(2)
if "!" in text:
    raise RuntimeError("broken on purpose")
if "kill me once" in text and not Path("killed").exists():
    Path("killed").touch()
    os.kill(os.getpid(), signal.SIGKILL)
with workspace.write(dataset, "letters") as folder:
    (folder / "letters.txt").write_text(text.upper() + str(settings.ingest.image_size))
""",
    "words": COMMON
    + """
with workspace.write(dataset, "words") as folder:
    (folder / "loss.csv").write_text("epoch,loss,val_p1\\n1,0.5,10\\n2,0.25,20\\n")
    (folder / "words.txt").write_text((workspace.path(dataset, "letters") / "letters.txt").read_text())
    if settings.pretrain.epochs == 999:
        (workspace.root / "words.pid").write_text(str(os.getpid()))
        print("training", flush=True)
        time.sleep(120)
""",
    "report": COMMON
    + """
words = (workspace.path(dataset, "words") / "words.txt").read_text()
with workspace.write(dataset, "report") as folder:
    (folder / "report.html").write_text(f"<h1>{words}</h1>{settings.evaluate.gallery}")
    metrics = {"mufin": {"P@1": 50.0, "letters": len(words)}, "siamese": {"P@1": 40.0}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "plots").mkdir()
    (folder / "plots" / "curve.json").write_text("[]")
""",
    "book": COMMON
    + """
with workspace.write(dataset, "book") as folder:
    (folder / "book.json").write_text((workspace.path(dataset, "report") / "metrics.json").read_text())
workspace.took(dataset, "book", 1.0)
""",
}

DATASETS = ("one", "two")


class Project:
    """The project's folder, and what tests do with it."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root)
        self.root = root

    @property
    def stages(self) -> tuple[pipeline.Stage, ...]:
        return pipeline.load(self.root)

    def stage(self, address: str) -> pipeline.Stage:
        return next(stage for stage in self.stages if stage.address == address)

    def definitions(self) -> dg.Definitions:
        return dg.Definitions(assets=assets.build(self.workspace, self.stages))

    def materialize(
        self, instance: dg.DagsterInstance, *keys: str, config: Mapping[str, object] | None = None
    ) -> dg.ExecuteInProcessResult:
        chosen = [dg.AssetKey.from_user_string(key) for key in keys]
        ops = {key.to_python_identifier(): {"config": dict(config)} for key in chosen} if config else {}
        return dg.materialize(
            assets.build(self.workspace, self.stages),
            selection=dg.AssetSelection.assets(*chosen) if chosen else None,
            instance=instance,
            run_config={"ops": ops, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )

    def dvc(self, *arguments: str) -> str:
        return versioning.dvc(self.root, *arguments)

    def setting(self, old: str, new: str) -> None:
        text = (self.root / "params.yaml").read_text()
        assert old in text
        (self.root / "params.yaml").write_text(text.replace(old, new))

    def mufin(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mufin_dagster.cli", *arguments],
            cwd=self.root,
            env=versioning.environment(self.root),
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with every stage of the dataset `one` done; `two` has only its catalogue."""
    root = tmp_path_factory.mktemp("project")
    for file in ("params.yaml", "workspace.yaml", "dagster.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(REPOSITORY / file, root / file)
    text = (root / "params.yaml").read_text().split("per_dataset:")[0].replace("  - demo\n", "  - one\n  - two\n")
    sections = ["ingest", "encode", "pretrain", "index", "mine", "finetune", "predict", "evaluate", "release"]
    empty = "".join(f"    {section}: {{}}\n" for section in sections)
    (root / "params.yaml").write_text(f"{text}per_dataset:\n  one:\n{empty}  two:\n{empty}")
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "steps").mkdir()
    for name, code in STEPS.items():
        (root / "steps" / f"{name}.py").write_text(code)
    for dataset in DATASETS:
        (root / "data" / dataset / "catalog").mkdir(parents=True)
        (root / "data" / dataset / "catalog" / "text.txt").write_text(f"the text of {dataset}")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    versioning.dvc(root, "init", "-q")
    versioning.dvc(root, "add", "-q", *(f"data/{dataset}/catalog" for dataset in DATASETS))
    project = Project(root)
    with dg.DagsterInstance.ephemeral() as instance:
        done = project.materialize(instance, *(f"one/{noun}" for noun in STEPS))
        assert done.success, [event.step_failure_data for event in done.get_step_failure_events()]
        told = [event.materialization for event in done.get_asset_materialization_events()]
    # what Dagster recorded of it, for the test that holds it against DVC
    tags = {event.asset_key.to_user_string(): dict(event.tags or {}) for event in told}
    (root / "events.json").write_text(json.dumps(tags))
    return root


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    root = tmp_path / "project"
    shutil.copytree(template, root, symlinks=True)
    monkeypatch.setenv("MUFIN_ROOT", str(root))
    for name in ("DAGSTER_HOME", "MUFIN_EXECUTOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(root)
    yield Project(root)
    os.chdir(REPOSITORY)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral
