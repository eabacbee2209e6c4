"""Early stopping, what judges it, the state that a broken run goes on from, and losses that are no number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from mufin_model.errors import SettingError
from mufin_model.progress import Clock, duration
from mufin_model.training.checkpoint import State
from mufin_model.training.finite import SKIPS, LossWatch, Step
from mufin_model.training.loop import Group, Plan, fit
from mufin_model.training.stopping import FEWEST, JUDGE, Stopping, Validation


class Line(nn.Module):
    """A loss with a weight, a buffer, dropout and random numbers of three libraries."""

    def __init__(self, bad: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.drop = nn.Linear(4, 4), nn.Dropout(0.5)
        self.register_buffer("seen", torch.zeros(()))
        self.bad = bad

    def forward(self, x: Tensor) -> Tensor:
        import random

        self.seen += 1
        noise = random.random() + float(np.random.random())
        loss = (self.drop(self.linear(x)) * noise).square().mean()
        return loss * float("nan") if int(self.seen) == self.bad else loss


class Broken(Exception):
    pass


def plan_of(tmp_path, model: nn.Module, scores: list[float], **changed) -> Plan:
    """Six epochs of three steps; `scores` are what validation says, epoch by epoch."""

    def validate() -> dict[str, float]:
        score = scores[int(model.seen) // 3 - 1]
        return {"val_p1": score, JUDGE: score}

    plan = Plan(
        name="finetune",
        seed=1,
        epochs=6,
        warmup=0.1,
        weight_decay=0.01,
        groups=[Group(model, 1e-2)],
        batches=lambda epoch: [(torch.full((8, 4), epoch + step + 1.0),) for step in range(3)],
        steps=3,
        validate=validate,
        stopping=Stopping(patience=2, judged=FEWEST),
        state=tmp_path,
        key="x",
    )
    return replace(plan, **changed)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_training_stops_and_keeps_the_best_epoch(tmp_path, capsys) -> None:
    model, after = Line(), {}
    plan = plan_of(tmp_path, model, [0.1, 0.5, 0.4, 0.5, 0.9, 0.9])
    validate = plan.validate
    plan = replace(plan, validate=lambda: (after.update({int(model.seen) // 3: weights(model)}), validate())[1])
    curve = fit(Accelerator(cpu=True), model, plan)
    assert [row["best"] for row in curve] == [0, 1, 0, 0]  # the first of equal ones, then two without a better one
    assert all(torch.equal(value, after[2][name]) for name, value in weights(model).items())
    said = capsys.readouterr().out
    assert "6 epochs of 3 steps at most" in said
    assert "4 of 6 epochs made, epoch 2 kept" in said


@pytest.mark.parametrize("stopping", [Stopping(2, FEWEST - 1), Stopping(0, 10_000)])
def test_few_validation_items_do_not_decide(tmp_path, capsys, stopping) -> None:
    model = Line()
    curve = fit(Accelerator(cpu=True), model, plan_of(tmp_path, model, [0.9] + [0.1] * 5, stopping=stopping))
    assert [row["best"] for row in curve] == [0, 0, 0, 0, 0, 1]
    assert int(model.seen) == 18
    assert "all of them" in capsys.readouterr().out


@pytest.mark.parametrize("scaled", [False, True], ids=["fp32", "with a scaler"])
@pytest.mark.parametrize("broken_after", [1, 3])
def test_broken_off_and_resumed_to_the_bit(tmp_path, scaled, broken_after) -> None:
    scores = [0.1, 0.5, 0.4, 0.3, 0.2, 0.1]

    def run(folder, dies: bool = False) -> tuple[list, dict, Accelerator]:
        folder.mkdir(exist_ok=True)
        accelerate, model = Accelerator(cpu=True), Line()
        if scaled:
            accelerate.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=2)
        plan = plan_of(folder, model, scores, stopping=Stopping(3, FEWEST))

        def batches(epoch: int):
            if dies and epoch == broken_after:
                yield (torch.ones(8, 4),)
                raise Broken
            yield from plan.batches(epoch)

        return fit(accelerate, model, replace(plan, batches=batches)), weights(model), accelerate

    whole = run(tmp_path / "whole")
    with pytest.raises(Broken):
        run(tmp_path / "broken", dies=True)
    resumed = run(tmp_path / "broken")
    assert resumed[0] == whole[0]
    assert len(whole[0]) == 5
    for name, value in whole[1].items():
        assert torch.equal(value, resumed[1][name]), name
    if scaled:
        assert whole[2].scaler.state_dict() == resumed[2].scaler.state_dict()
        assert whole[2].scaler.get_scale() != 4.0
    last = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "broken")]
    for name, value in last[0]["model"].items():
        assert torch.equal(value, last[1]["model"][name])


def test_a_loss_that_is_no_number_stops_at_its_step(tmp_path) -> None:
    model = Line(bad=5)
    with pytest.raises(SettingError, match="the loss of finetune is nan in epoch 2, step 2") as caught:
        fit(Accelerator(cpu=True), model, plan_of(tmp_path, model, [0.1] * 6))
    assert int(model.seen) == 5
    assert "learning rates 0.0" in str(caught.value)


def test_the_scaler_may_skip_but_not_for_ever() -> None:
    watch, nan, at = LossWatch("pretrain"), torch.tensor(float("nan")), Step(1, 1, (1e-3,))
    for _ in range(SKIPS - 1):
        watch(at, nan, skipped=True)
    watch(at, torch.tensor(1.0))
    for _ in range(SKIPS - 1):
        watch(at, nan, skipped=True)
    with pytest.raises(SettingError, match=f"overflow in {SKIPS} steps in a row"):
        watch(at, nan, skipped=True)


def test_filter_pairs_count_neither_as_found_nor_as_true() -> None:
    truth = csr_matrix(np.array([[0, 1, 0, 0], [0, 0, 1, 0]], np.float32))
    removed = csr_matrix(np.array([[1, 0, 0, 0], [0, 0, 0, 0]], np.float32))
    validation = Validation(np.array([0, 1]), truth, removed)
    # Label 0 is a filter pair of item 0: its first label is then 1, which is right.
    assert validation(np.array([[0, 1, 2], [0, 2, 1]]))["val_p1"] == 0.5
    found = validation(np.array([[2, 1, 0], [0, 1, 2]]), np.array([[0.1, 0.5, 0.9], [0.1, 0.2, 0.7]]))
    assert found == {"val_p1": 1.0, JUDGE: 1.0}
    assert validation.depth == 6
    assert validation.judged == 2


def test_a_resumed_state_has_the_scaler(tmp_path) -> None:
    def state() -> State:
        model = nn.Linear(2, 2)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
        return State(model, optimizer, schedule, torch.amp.GradScaler("cpu", init_scale=8.0), [])

    one, other = state(), state()
    one.curve, one.skipped = [{"epoch": 1, "loss": 1.0}], 3
    one.scaler.load_state_dict({**one.scaler.state_dict(), "scale": 2.0, "_growth_tracker": 7})
    one.keep()
    one.write(tmp_path, "key")
    other.read(tmp_path, "key", "pretrain")
    assert other.scaler.state_dict() == one.scaler.state_dict()
    assert (other.curve, other.skipped) == (one.curve, 3)
    assert torch.equal(other.best["weight"], one.model.weight)


def test_the_time_left_is_that_of_all_parts() -> None:
    clock = Clock(steps=10, validation=2)
    assert clock.left() is None
    clock.spent("steps", 1, 5.0)  # warms up
    clock.spent("steps", 1, 1.0)
    assert clock.left() == 8.0
    clock.guess("validation", 3.0)
    assert clock.left() == 14.0
    assert [duration(s) for s in (3.2, 600, 7500)] == ["3 s", "10 min", "2 h 5 min"]
