"""The training loop: resumed exactly or not at all; clusters."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mufin_model.errors import SettingError
from mufin_model.training import loop
from mufin_model.training.batching import balanced_clusters, batch_of, batches
from mufin_model.training.checkpoint import State

FILES = {"pretrain": "pretrained_model", "finetune": "finetuned_classifiers"}
BEFORE = {
    "pretrain": ("ingest", "encode"),
    "finetune": ("ingest", "encode", "pretrain", "index", "mine"),
}


class Killed(Exception):
    pass


def killed_after(small, stage: str, epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a stage until the checkpoint of an epoch is written, and die in the next."""
    wrote = State.write

    def write(state, folder, key):
        wrote(state, folder, key)
        if len(state.curve) == epoch:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(State, "write", write)
        with pytest.raises(Killed):
            small.run(stage)
    assert not small.workspace.path(small.dataset, FILES[stage]).exists()


def resumed_from(small, stage: str, capfd: pytest.CaptureFixture[str]) -> int:
    """Run a stage; after which epoch it went on."""
    capfd.readouterr()
    small.run(stage)
    said = [line for line in capfd.readouterr().out.splitlines() if "resumed after epoch" in line]
    return int(said[0].rsplit(" ", 1)[1]) if said else 0


def same(one: Path, other: Path) -> None:
    weights, others = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        assert torch.equal(weight, others[name]), name
    assert (one / "loss.csv").read_bytes() == (other / "loss.csv").read_bytes()


@pytest.mark.parametrize(
    ("stage", "overrides"),
    [
        ("pretrain", ()),
        ("pretrain", ("pretrain.cluster_after=9", "pretrain.train_backbones=false")),
        ("pretrain", ("pretrain.cluster_after=1", "pretrain.cluster_every=5", "pretrain.train_backbones=false")),
        ("pretrain", ("pretrain.prototypes=4", "pretrain.early_fusion=true", "pretrain.images_per_bag=1")),
        ("finetune", ()),
        ("finetune", ("finetune.end_to_end=true",)),
    ],
)
def test_killed_and_resumed_ends_as_unbroken(built, tmp_path, monkeypatch, capfd, stage, overrides) -> None:
    overrides = (f"{stage}.epochs=4", *overrides)
    whole = built.branch(tmp_path / "whole", BEFORE[stage], overrides)
    whole.run(stage)
    broken = built.branch(tmp_path / "broken", BEFORE[stage], overrides)
    killed_after(broken, stage, 3, monkeypatch)
    assert resumed_from(broken, stage, capfd) == 3
    same(whole.noun(FILES[stage]), broken.noun(FILES[stage]))
    assert not (broken.workspace.dataset(broken.dataset) / ".state" / FILES[stage]).exists()


def test_other_settings_and_damage_start_anew(built, tmp_path, monkeypatch, capfd) -> None:
    whole, first = (built.branch(tmp_path / name, BEFORE["finetune"]) for name in ("whole", "killed"))
    whole.run("finetune")
    killed_after(first, "finetune", 1, monkeypatch)
    checkpoint = first.workspace.state(first.dataset, FILES["finetune"]) / "checkpoint.pt"
    saved = checkpoint.read_bytes()
    other = type(first)(first.workspace, built.branch(tmp_path / "x", overrides=("finetune.lr=2e-3",)).settings)
    assert resumed_from(other, "finetune", capfd) == 0
    for damaged in (saved[: len(saved) // 2], b"", b"nonsense"):
        first.workspace.state(first.dataset, FILES["finetune"])
        checkpoint.write_bytes(damaged)
        assert resumed_from(first, "finetune", capfd) == 0
        same(first.noun(FILES["finetune"]), whole.noun(FILES["finetune"]))
    first.workspace.state(first.dataset, FILES["finetune"])
    checkpoint.write_bytes(saved)
    assert resumed_from(first, "finetune", capfd) == 1


def test_other_data_starts_anew(built, tmp_path, monkeypatch, capfd) -> None:
    small = built.branch(tmp_path, BEFORE["finetune"])
    killed_after(small, "finetune", 1, monkeypatch)
    small.run("mine")  # rewritten: its files are not those of the checkpoint
    assert resumed_from(small, "finetune", capfd) == 0


def test_a_loss_that_is_no_number_is_named(built, tmp_path) -> None:
    small = built.branch(tmp_path, BEFORE["finetune"], ("finetune.lr=1e30",))
    with pytest.raises(SettingError, match=r"the loss of finetune is .* in epoch 1, step 2") as caught:
        small.run("finetune")
    assert "lower the learning rate" in str(caught.value)
    assert "1e+30" in str(caught.value)
    assert not small.workspace.path(small.dataset, "finetuned_classifiers").exists()


def test_the_curve_has_a_row_an_epoch(built) -> None:
    for noun in FILES.values():
        rows = list(csv.DictReader((built.noun(noun) / "loss.csv").open()))
        assert [row["epoch"] for row in rows] == ["1", "2"]
        assert [row["best"] for row in rows] == ["0", "1"]  # few validation items: the last is kept
        assert all(0 <= float(row["val_p1"]) <= 1 and float(row["loss"]) > 0 for row in rows)


def test_the_schedule_warms_up_and_ends_at_zero() -> None:
    rates = [loop._schedule(step, 10, 100) for step in range(100)]
    assert rates[:10] == [pytest.approx((step + 1) / 10) for step in range(10)]
    assert np.all(np.diff(rates[9:]) <= 0)
    assert rates[-1] < 0.01
    assert loop.passes(5, 100, 8) == 13
    assert loop.passes(5, 0, 8) == 5


def test_small_catalogues_make_several_steps_an_epoch() -> None:
    assert [batch_of(items, 256) for items in (10, 300, 675, 5000)] == [64, 64, 85, 256]
    assert batch_of(5000, 32) == 32


@pytest.mark.parametrize(("n", "leaf"), [(1, 8), (7, 8), (100, 8), (257, 16), (64, 1)])
def test_clusters_are_a_balanced_partition(n: int, leaf: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32)
    clusters = balanced_clusters(vectors, leaf, np.random.default_rng(1))
    assert sorted(np.concatenate(clusters)) == list(range(n))
    sizes = [len(c) for c in clusters]
    assert max(sizes) <= leaf
    assert max(sizes) - min(sizes) <= 1


def test_clusters_hold_like_items() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(8, dtype=np.float32)
    kind = rng.permutation(np.repeat(np.arange(8), 16))
    vectors = centres[kind] + 0.05 * rng.normal(size=(128, 8)).astype(np.float32)
    clusters = balanced_clusters(vectors, 16, np.random.default_rng(1))
    pure = np.mean([np.bincount(kind[rows]).max() / len(rows) for rows in clusters])
    assert pure > 0.8


def test_equal_vectors_are_cut_all_the_same() -> None:
    clusters = balanced_clusters(np.zeros((50, 3), np.float32), 8, np.random.default_rng(0))
    assert sorted(np.concatenate(clusters)) == list(range(50))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 33, 100])
@pytest.mark.parametrize("size", [2, 32, 1000])
def test_batches_are_a_partition(n: int, size: int) -> None:
    order = np.random.default_rng(0).permutation(n)
    cut = batches(order, size)
    assert np.array_equal(np.concatenate([*cut, order[:0]]), order)
    assert all(len(rows) > 1 for rows in cut) or n == 1
    assert all(len(rows) < 2 * size for rows in cut)
