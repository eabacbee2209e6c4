"""The one training loop, on Accelerate: schedule, precision, early stopping, a checkpoint each epoch, resume.

An epoch's randomness depends on the seed and the epoch alone, so a run that was killed and resumed
ends where an unbroken one does. On several ranks (see ranks.py) each runs this loop on its share of every batch.
The learning rate falls to zero over the epochs that are planned; training ends sooner where validation items no longer
gain, and the weights of the best epoch are kept (stopping.py).
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.utils.parametrize import cached

from mufin_model.progress import Clock, duration, say, track
from mufin_model.training.ahead import ahead
from mufin_model.training.checkpoint import State, key_of, seed_epoch
from mufin_model.training.finite import LossWatch, Step
from mufin_model.training.ranks import main_says
from mufin_model.training.stopping import FEWEST, JUDGE, Curve, Stopping

COLUMNS = ("epoch", "loss", "val_p1", JUDGE, "best")
"""Of loss.csv; `best` is 1 for the epoch whose weights were kept."""


TIMED = 3
"""Steps that are timed before a training says how long it takes."""


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
        seed, warmup, weight_decay: as in params.yaml.
        epochs: at most.
        groups: parameters by learning rate; each trained parameter in one of them.
        batches: epoch to the positional arguments of each forward, tensors on the CPU; forward returns the loss.
            They are made ahead on another thread, so that only an epoch's first may read what training changes.
        steps: batches an epoch.
        validate: val_p1 and val_ndcg5, in 0..1; asked on the main rank.
        stopping: when to stop before all epochs are made.
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
    validate: Callable[[], dict[str, float]]
    stopping: Stopping
    state: Path
    key: Any


def fit(accelerate: Accelerator, model: nn.Module, plan: Plan) -> Curve:
    """Train `model`, whose forward returns the loss of a batch; leave it with the weights of the best epoch.

    Returns:
        One row an epoch: epoch, loss (mean over its steps), val_p1, val_ndcg5, best (1 or 0).

    Raises:
        SettingError: the loss of a step is no finite number, or fp16 overflows step after step.
    """
    # On a GPU one kernel for all parameters: with small models a step's time is that of launching kernels.
    fused = accelerate.device.type == "cuda"
    optimizer = torch.optim.AdamW(_parameter_groups(plan), betas=(0.9, 0.98), eps=1e-6, fused=fused)
    total = plan.epochs * plan.steps
    warm = max(1, int(plan.warmup * total))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _schedule(step, warm, total))
    wrapped, optimizer = accelerate.prepare(model, optimizer)
    state, key = State(model, optimizer, schedule, accelerate.scaler, []), key_of(plan.key)
    state.read(plan.state, key, plan.name)
    watch = LossWatch(plan.name, state.skipped)
    to_do = plan.epochs - state.resumed
    clock = Clock(steps=to_do * plan.steps, validation=to_do)
    _announce(plan, to_do)
    for epoch in range(state.resumed, plan.epochs):
        if plan.stopping.enough(state.curve):
            break
        seed_epoch(plan.seed, epoch, accelerate.process_index)
        loss = _epoch(accelerate, wrapped, state, plan, epoch, watch, clock)
        model.eval()
        began = time.monotonic()
        judged = main_says(accelerate, plan.validate)
        clock.spent("validation", 1, time.monotonic() - began)
        state.curve.append({"epoch": epoch + 1, "loss": loss, **judged})
        state.skipped = watch.skipped
        if plan.stopping.early and plan.stopping.best(state.curve) == epoch + 1:
            state.keep()
        say(_line(plan, state.curve, clock))
        if accelerate.is_main_process:
            state.write(plan.state, key)
    _end(plan, state)
    model.eval()
    best = plan.stopping.best(state.curve)
    return [{**row, "best": float(row["epoch"] == best)} for row in state.curve]


def _epoch(
    accelerate: Accelerator, wrapped: nn.Module, state: State, plan: Plan, epoch: int, watch: LossWatch, clock: Clock
) -> float:
    """One pass over the batches; the mean loss of its steps."""
    state.model.train()
    parameters = [p for p in state.model.parameters() if p.requires_grad]
    total = torch.zeros(2, device=accelerate.device)  # of losses, of steps
    made, what = ahead(plan.batches(epoch), accelerate.device), f"{plan.name} epoch {epoch + 1}"
    for number, batch in enumerate(track(made, what, plan.steps, clock, "steps")):
        left = clock.left()
        if epoch == state.resumed and number == TIMED and left is not None:
            say(f"{plan.name}: about {duration(left)} at most, validation not counted")
        rates = tuple(state.schedule.get_last_lr())
        state.optimizer.zero_grad(set_to_none=True)
        # Spectral norms are worked out once a step, though items and labels both pass through them.
        with accelerate.autocast(), cached():
            loss: Tensor = wrapped(*batch)
        accelerate.backward(loss)
        accelerate.clip_grad_norm_(parameters, 5.0)
        state.optimizer.step()
        state.schedule.step()
        watch(Step(epoch + 1, number + 1, rates), loss, state.optimizer.step_was_skipped)
        finite = torch.isfinite(loss.detach())  # in fp16 a skipped step's need not be
        total += torch.stack([torch.where(finite, loss.detach(), 0.0).float(), finite.float()])
    watch.settle()
    summed, steps = accelerate.reduce(total, "mean").tolist()
    return float(summed / max(1.0, steps))


def _announce(plan: Plan, to_do: int) -> None:
    """What is going to happen, before it does."""
    stopping = plan.stopping
    if stopping.early:
        until = f"until {stopping.patience} epochs bring no better nDCG@5 of {stopping.judged:,} validation items"
    elif stopping.patience:
        until = f"all of them: {stopping.judged:,} validation items (of {FEWEST} at least) cannot tell epochs apart"
    else:
        until = "all of them: patience is 0"
    say(f"{plan.name}: {to_do} epochs of {plan.steps} steps at most, {until}")


def _line(plan: Plan, curve: Curve, clock: Clock) -> str:
    last = curve[-1]
    told = f"{plan.name} epoch {len(curve)}/{plan.epochs}: loss {last['loss']:.4f}, "
    told += f"validation P@1 {last['val_p1']:.4f}, nDCG@5 {last[JUDGE]:.4f}"
    left = clock.left()
    return f"{told}; {duration(left)} left at most" if left else told


def _end(plan: Plan, state: State) -> None:
    """Take the best epoch's weights, and say so."""
    best, made = plan.stopping.best(state.curve), len(state.curve)
    if best < made and state.best is not None:
        state.model.load_state_dict(state.best)
    if plan.stopping.early and made:
        score = f"{state.curve[best - 1][JUDGE]:.4f}"
        say(f"{plan.name}: {made} of {plan.epochs} epochs made, epoch {best} kept (validation nDCG@5 {score})")


def passes(epochs: int, least_steps: int, steps: int) -> int:
    """Epochs at most: as many as asked for, more where an epoch has so few steps that these fall short."""
    return max(epochs, -(-least_steps // max(1, steps)))


def write_curve(path: Path, curve: Curve) -> None:
    """Write loss.csv."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in curve:
            rounded = {name: round(value, 6) for name, value in row.items()}
            writer.writerow(rounded | {name: int(row[name]) for name in ("epoch", "best")})


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
