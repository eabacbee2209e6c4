"""A small project whose stage `words` trains: an epoch a second, a checkpoint each, and it says where it was."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from mufin_dagster import assets, pipeline, versioning
from mufin_model.artefacts import Workspace
from mufin_model.config import STAGES

REPOSITORY = Path(__file__).parents[2]
EPOCHS = 5

TRAIN = """\
import json, os, signal, sys, time
from pathlib import Path
from mufin_model.artefacts import Workspace
from mufin_model.usage import measured
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
workspace, noun, epochs = Workspace.find(), sys.argv[1], int(sys.argv[2])
began = time.monotonic()
checkpoint = workspace.state("one", noun) / "checkpoint.pt"
done = json.loads(checkpoint.read_text()) if checkpoint.is_file() else []
place = [os.environ.get("MUFIN_SCRATCH"), os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("MUFIN_RANKS")]
print(f"from epoch {len(done)}", flush=True)
for epoch in range(len(done), epochs):
    time.sleep(1 if epochs > 1 else 0)
    done.append(place)
    aside = checkpoint.with_suffix(".part")
    aside.write_text(json.dumps(done))
    os.replace(aside, checkpoint)
    print(f"epoch {epoch + 1}", flush=True)
with workspace.write("one", noun) as folder:
    text = (workspace.catalog("one") / "text.txt").read_text()
    (folder / "epochs.json").write_text(json.dumps({"text": text, "epochs": done}))
workspace.took("one", noun, time.monotonic() - began)
"""

JOINT = """\
import json, os
import torch.distributed as together
from mufin_model.artefacts import Workspace
from mufin_model.training.launch import MEET, NODE, NODES, first_node
rank, count = int(os.environ[NODE]), int(os.environ[NODES])
together.init_process_group("gloo", init_method=f"tcp://{os.environ[MEET]}", rank=rank, world_size=count)
places = [None] * count
together.all_gather_object(places, [os.environ["MUFIN_SCRATCH"], os.environ["CUDA_VISIBLE_DEVICES"], str(rank)])
if first_node():
    with Workspace.find().write("one", "joint") as folder:
        (folder / "epochs.json").write_text(json.dumps({"epochs": places}))
"""


class Project:
    """The project's folder, and what tests do with it."""

    def __init__(self, root: Path) -> None:
        self.workspace, self.root = Workspace(root), root

    def set(self, **execution: object) -> None:
        """Write the sections that say where steps run, and that they are tried again at once."""
        told = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
        told |= {"datasets": ["one"], "per_dataset": {"one": {stage: {} for stage in STAGES}}}
        told |= {"execution": execution, "automation": {"retries": 2, "retry_delay": 1}}
        (self.root / "params.yaml").write_text(yaml.safe_dump(told))

    def stage(self, noun: str) -> pipeline.Stage:
        return next(stage for stage in pipeline.load(self.root) if stage.noun == noun)

    def materialize(self, noun: str, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            assets.build(self.workspace, pipeline.load(self.root)),
            selection=dg.AssetSelection.assets(["one", noun]),
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    root = tmp_path / "project"
    (root / "data" / "one" / "catalog").mkdir(parents=True)
    (root / "data" / "one" / "catalog" / "text.txt").write_text("what is trained on")
    (root / "train.py").write_text(TRAIN)
    (root / "joint.py").write_text(JOINT)
    needs = {"letters": {"cpu": 1, "gpu": 0}, "words": {"cpu": 1, "gpu": 1}, "pairs": {"cpu": 1, "gpu": 2}}
    stages = {
        noun: {
            "matrix": {"dataset": "${datasets}"},
            "cmd": f"{sys.executable} {root / 'train.py'} {noun} {EPOCHS if noun == 'words' else 1}",
            "deps": ["data/${item.dataset}/catalog"],
            "outs": [{f"data/${{item.dataset}}/{noun}": {"persist": True}}],
            "meta": {"dagster": {**need, "memory_gb": 0.1}},
        }
        for noun, need in needs.items()
    }
    here = {"cpu": 1, "gpu": 0, "here": True, "memory_gb": 0.1}
    stages["shelf"] = stages["letters"] | {
        "cmd": f"{sys.executable} {root / 'train.py'} shelf 1",
        "outs": [{"data/${item.dataset}/shelf": {"persist": True}}],
        "meta": {"dagster": here},
    }
    joint = {"cpu": 1, "gpu": 1, "nodes": 2, "memory_gb": 0.1}
    stages["joint"] = stages["words"] | {
        "cmd": f"{sys.executable} {root / 'joint.py'}",
        "outs": [{"data/${item.dataset}/joint": {"persist": True}}],
        "meta": {"dagster": joint},
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    project = Project(root)
    project.set()
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    versioning.dvc(root, "init", "-q")
    versioning.dvc(root, "add", "-q", "data/one/catalog")
    monkeypatch.setenv("MUFIN_ROOT", str(root))
    for name in ("DAGSTER_HOME", "MUFIN_EXECUTOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(root)
    yield project
    os.chdir(REPOSITORY)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A URL on an S3 server of this machine; its address and credentials lie in the environment alone."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    # servers of one process share what they hold
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
    boto3.client("s3").create_bucket(Bucket="mufin-test")
    yield "s3://mufin-test/shop"
    server.stop()
