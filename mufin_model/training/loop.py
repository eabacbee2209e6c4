"""The one training loop, on Accelerate: schedule, precision, progress, a checkpoint each epoch, resume.

An epoch's randomness depends on the seed and the epoch alone, so a run that was killed and resumed
ends where an unbroken one does. On several ranks (see ranks.py) each runs this loop on its share of every batch.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.utils.parametrize import cached

from mufin_model import owners
from mufin_model.errors import SettingError
from mufin_model.progress import say, track
from mufin_model.training.ahead import ahead
from mufin_model.training.ranks import main_says

Curve = list[dict[str, float]]

VALIDATED = 2000
"""Validation items looked at after each epoch, at most."""


@dataclass(frozen=True)
class Group:
    """Parameters with a learning rate of their own."""

    module: nn.Module
    lr: float


@dataclass(frozen=True)
class Plan:
    """What a fit needs beside the model.

    Attributes:
        name: shown in progress lines.
        seed, epochs, warmup, weight_decay: as in params.yaml.
        groups: parameters by learning rate; each trained parameter in one of them.
        batches: epoch to the positional arguments of each forward, tensors on the CPU; forward returns the loss.
            They are made ahead on another thread, so that only an epoch's first may read what training changes.
        steps: batches an epoch.
        validate: the score shown beside the loss, in 0..1; asked on the main rank.
        state: folder of the checkpoint.
        key: whatever must be equal for a checkpoint to be resumed.
    """

    name: str
    seed: int
    epochs: int
    warmup: float
    weight_decay: float
    groups: list[Group]
    batches: Callable[[int], Iterable[tuple[Any, ...]]]
    steps: int
    validate: Callable[[], float]
    state: Path
    key: Any


def fit(accelerate: Accelerator, model: nn.Module, plan: Plan) -> Curve:
    """Train `model`, whose forward returns the loss of a batch.

    Returns:
        One row an epoch: epoch, loss (mean over its steps), val_p1.

    Raises:
        SettingError: the loss is no finite number any more.
    """
    # On a GPU one kernel for all parameters: with small models a step's time is that of launching kernels.
    fused = accelerate.device.type == "cuda"
    optimizer = torch.optim.AdamW(_parameter_groups(plan), betas=(0.9, 0.98), eps=1e-6, fused=fused)
    total = plan.epochs * plan.steps
    warm = max(1, int(plan.warmup * total))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _schedule(step, warm, total))
    key = hashlib.sha256(json.dumps(plan.key, sort_keys=True, default=str).encode()).hexdigest()
    wrapped, optimizer = accelerate.prepare(model, optimizer)
    curve = _resume(plan, key, model, optimizer, schedule)
    parameters = [p for p in model.parameters() if p.requires_grad]
    for epoch in range(len(curve), plan.epochs):
        # Each rank drops out other places.
        torch.manual_seed(plan.seed * 1_000_003 + epoch + (accelerate.process_index << 40))
        model.train()
        total_loss = torch.zeros((), device=accelerate.device)
        steps = 0
        made = ahead(plan.batches(epoch), accelerate.device)
        for batch in track(made, f"{plan.name} epoch {epoch + 1}", plan.steps):
            optimizer.zero_grad(set_to_none=True)
            # Spectral norms are worked out once a step, though items and labels both pass through them.
            with accelerate.autocast(), cached():
                loss: Tensor = wrapped(*batch)
            accelerate.backward(loss)
            accelerate.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
            schedule.step()
            total_loss += loss.detach()
            steps += 1
        mean = float(accelerate.reduce(total_loss, "mean")) / max(1, steps)
        if not math.isfinite(mean):
            raise SettingError(
                f"the loss of {plan.name} is {mean} in epoch {epoch + 1}",
                where=f"{plan.name}.lr",
                mend="lower the learning rates",
            )
        model.eval()
        precision = main_says(accelerate, plan.validate)
        curve.append({"epoch": epoch + 1, "loss": mean, "val_p1": precision})
        say(f"{plan.name} epoch {epoch + 1}/{plan.epochs}: loss {mean:.4f}, validation P@1 {curve[-1]['val_p1']:.4f}")
        if accelerate.is_main_process:
            _checkpoint(plan, key, model, optimizer, schedule, curve)
    model.eval()
    return curve


def passes(epochs: int, least_steps: int, steps: int) -> int:
    """Epochs to train: as many as asked for, more where an epoch has so few steps that these fall short."""
    return max(epochs, -(-least_steps // max(1, steps)))


def write_curve(path: Path, curve: Curve) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["epoch", "loss", "val_p1"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: round(v, 6) for k, v in row.items()} for row in curve)


def _schedule(step: int, warm: int, total: int) -> float:
    """Linear warm-up, then cosine to zero."""
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, total - warm))))


def _parameter_groups(plan: Plan) -> list[dict[str, Any]]:
    """Weight decay on matrices alone: never on biases, norms or scalars."""
    groups = []
    for group in plan.groups:
        parameters = [p for p in group.module.parameters() if p.requires_grad]
        for matrices in (True, False):
            chosen = [p for p in parameters if (p.ndim > 1) == matrices]
            if chosen:
                decay = plan.weight_decay if matrices else 0.0
                groups.append({"params": chosen, "lr": group.lr, "weight_decay": decay})
    return groups


def _checkpoint(plan: Plan, key: str, model: nn.Module, optimizer: Any, schedule: Any, curve: Curve) -> None:
    path = plan.state / "checkpoint.pt"
    aside = path.with_suffix(f".{owners.token()}")
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
    with aside.open("wb") as file:  # given a path, torch hides a full disk behind words of its own
        torch.save({"key": key, "curve": curve, **state}, file)
    os.replace(aside, path)


def _resume(plan: Plan, key: str, model: nn.Module, optimizer: Any, schedule: Any) -> Curve:
    """Load the checkpoint of the same data and settings, if there is one; a damaged one is left aside."""
    path = plan.state / "checkpoint.pt"
    if not path.is_file():
        return []
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        say(f"{plan.name}: the checkpoint does not load ({type(error).__name__}), starting anew")
        return []
    if saved["key"] != key:
        return []
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    schedule.load_state_dict(saved["schedule"])
    say(f"{plan.name}: resumed after epoch {len(saved['curve'])}")
    return list(saved["curve"])
