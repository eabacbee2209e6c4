"""Several processes train the model that one process trains: through the verbs, as torchrun starts them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from mufin_model.network.bags import BagBatch
from mufin_model.training.ranks import LARGE, Ranks, accelerator, precision

# What a rank draws for itself is off: everything else must agree.
EXACT = ("pretrain.dropout=0", "pretrain.modality_dropout=0.3")
FROZEN = (
    "pretrain.train_backbones=false",
    "pretrain.batch_size=31",
    "pretrain.head=logistic",
    "pretrain.neighbour_weight=0.5",
)
TUNED = ("pretrain.modalities=[text]", "pretrain.train_backbones=true", "pretrain.batch_size=25")
NOUNS = {"pretrain": "pretrained_model", "finetune": "finetuned_classifiers"}


def train(small, verb: str, ranks: int) -> str:
    """Run a verb of the command line in its own processes; what they print."""
    small.workspace.params.write_text(yaml.safe_dump({"datasets": [small.dataset], **small.settings.model_dump()}))
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    command = [sys.executable, *launcher, "-m", "mufin_model.cli", verb, "--dataset", small.dataset]
    env = os.environ | {"MUFIN_ROOT": str(small.workspace.root), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def losses(folder: Path) -> list[float]:
    return [float(row["loss"]) for row in csv.DictReader((folder / "loss.csv").open())]


def alike(one: Path, other: Path) -> None:
    np.testing.assert_allclose(losses(one), losses(other), rtol=1e-4)
    weights, others = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, others[name], rtol=1e-3, atol=1e-3, msg=lambda m, n=name: f"{n}: {m}")
    for path in one.glob("*.npy"):
        np.testing.assert_allclose(np.load(path), np.load(other / path.name), atol=5e-3, err_msg=path.name)


@pytest.mark.parametrize(
    ("asked", "trained", "gpu", "chosen"),
    [
        ("auto", LARGE, True, "bf16"),
        ("auto", LARGE - 1, True, "fp32"),
        ("auto", LARGE, False, "fp32"),
        ("bf16", 0, False, "bf16"),
        ("fp32", LARGE, True, "fp32"),
    ],
)
def test_half_precision_is_for_large_backbones_on_a_gpu(monkeypatch, asked, trained, gpu, chosen) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: gpu)
    assert precision(asked, trained) == chosen


def test_one_process_computes_in_one_precision_after_the_other() -> None:
    for asked, mixed in (("bf16", "bf16"), ("fp32", "no"), ("fp32", "no"), ("bf16", "bf16"), ("fp32", "no")):
        assert accelerator(asked).mixed_precision == mixed


@pytest.mark.parametrize(
    ("ranks", "overrides"),
    [
        (2, FROZEN),
        (2, (*TUNED, "pretrain.loss=triplet", "pretrain.head=softmax")),
        (3, (*FROZEN, "pretrain.batch_size=2", "pretrain.epochs=1")),
    ],
    ids=["frozen", "tuned", "more ranks than items"],
)
def test_ranks_pretrain_as_one(built, tmp_path, ranks: int, overrides: tuple[str, ...]) -> None:
    folders = []
    for count in (1, ranks):
        small = built.branch(tmp_path / str(count), ("ingest",), (*EXACT, *overrides))
        encoded = small.workspace.path(small.dataset, "encoder_embeddings")
        shutil.copytree(built.noun("encoder_embeddings"), encoded, copy_function=shutil.copy2)
        # The dropout of the text backbone is its own.
        config = encoded / "backbones" / "text" / "config.json"
        plain = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        config.write_text(json.dumps(json.loads(config.read_text()) | plain))
        said = train(small, "pretrain", count)
        assert said.count("pretrained on") == 1  # one rank speaks
        folders.append(small.noun("pretrained_model"))
        left = {path.name for path in small.workspace.dataset(small.dataset).iterdir()}
        assert left == {"catalog", "raw_descriptors", "encoder_embeddings", "pretrained_model", ".state"}
    alike(*folders)


def test_ranks_finetune_as_one(built, tmp_path) -> None:
    stages = ("ingest", "encode", "pretrain", "index", "mine")
    start = built.branch(tmp_path / "start", stages[:2], (*EXACT, *FROZEN))
    start.run(*stages[2:])
    folders = []
    for count in (1, 2):
        small = start.branch(tmp_path / str(count), stages, ("finetune.batch_size=13",))
        said = train(small, "finetune", count)
        assert said.count("finetuned") == 1
        folders.append(small.noun("finetuned_classifiers"))
    alike(*folders)


def test_ranks_tune_an_image_backbone(built, tmp_path) -> None:
    small = built.branch(tmp_path, ("ingest", "encode"), ("pretrain.train_backbones=true",))
    train(small, "pretrain", 2)
    for name in ("image", "text", "item_embeddings", "label_embeddings"):
        assert np.isfinite(np.load(small.noun("pretrained_model") / f"{name}.npy")).all()


@pytest.mark.parametrize(("total", "count"), [(10, 3), (2, 4), (1, 2), (0, 2), (8, 1)])
def test_shares_are_a_partition(total: int, count: int) -> None:
    rows = [list(range(total))[Ranks(rank, count).own(total)] for rank in range(count)]
    assert [row for share in rows for row in share] == list(range(total))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


def test_a_part_holds_its_bags_alone() -> None:
    batch = BagBatch(
        images=torch.tensor([4, 7, 9]),
        image_index=torch.tensor([[0, 2], [1, 0], [0, 0], [2, 0]]),
        image_mask=torch.tensor([[True, True], [True, False], [False, False], [True, False]]),
        texts=torch.tensor([10, 11, 12, 13]),
        text_mask=torch.tensor([True, True, True, False]),
    )

    def bags(part: BagBatch) -> list[list[int]]:
        rows = zip(part.images[part.image_index].tolist(), part.image_mask.tolist(), strict=True)
        return [[image for image, real in zip(*row, strict=True) if real] for row in rows]

    assert batch.part(slice(0, 4)) is batch
    part = batch.part(slice(1, 4))
    assert bags(part) == bags(batch)[1:] == [[7], [], [9]]
    assert part.images.tolist() == [7, 9]
    assert part.texts.tolist() == [11, 12, 13]
    assert part.text_mask.tolist() == [True, True, False]
    # E_V runs on each rank or on none, as its batch norms meet.
    assert batch.part(slice(2, 3)).images.tolist() == [4]
    assert len(batch.part(slice(0, 0)).texts) == 0
