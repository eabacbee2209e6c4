"""The loss of each step is a finite number, or training stops at that step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mufin_model.errors import SettingError

SKIPS = 24
"""Steps in a row that the scaler of fp16 may skip: so many halvings bring its scale from 65,536 to below one, after
which it is not the scale that is too large."""


@dataclass(frozen=True)
class Step:
    """Where training stands: epoch and step from 1, and the learning rates of its parameter groups."""

    epoch: int
    step: int
    rates: tuple[float, ...]


class LossWatch:
    """Looks at every step's loss.

    On a GPU the loss is copied without waiting and looked at one step later, while the device computes on; the weights
    that the step has spoilt meanwhile are in no checkpoint.

    Args:
        stage: the verb, for messages.
        skipped: steps in a row before the first one that the scaler skipped.
    """

    def __init__(self, stage: str, skipped: int = 0) -> None:
        self.stage, self.skipped = stage, skipped
        self._waiting: tuple[Step, Tensor, torch.cuda.Event | None] | None = None

    def __call__(self, at: Step, loss: Tensor, skipped: bool = False) -> None:
        """Look at a step's loss, a scalar.

        Args:
            at: the step.
            skipped: the scaler of fp16 found that gradients overflow, and left the weights as they were.

        Raises:
            SettingError: the loss of this step or the one before is no finite number, or SKIPS in a row were skipped.
        """
        self.settle()
        if skipped:
            self.skipped += 1
            if self.skipped >= SKIPS:
                raise self._error(f"gradients of {self.stage} overflow in {self.skipped} steps in a row", at, "fp32")
            return
        self.skipped = 0
        if not loss.is_cuda:
            self._judge(at, float(loss.detach()))
            return
        copied = torch.empty((), dtype=torch.float32, pin_memory=True)
        copied.copy_(loss.detach(), non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._waiting = at, copied, event

    def settle(self) -> None:
        """Look at what is still waiting.

        Raises:
            SettingError: it is no finite number.
        """
        if self._waiting is not None:
            at, copied, event = self._waiting
            self._waiting = None
            if event is not None:
                event.synchronize()
            self._judge(at, float(copied))

    def _judge(self, at: Step, loss: float) -> None:
        if not math.isfinite(loss):
            raise self._error(f"the loss of {self.stage} is {loss} in epoch {at.epoch}, step {at.step}", at)

    def _error(self, what: str, at: Step, precision: str = "") -> SettingError:
        rates = ", ".join(f"{rate:.3g}" for rate in dict.fromkeys(at.rates))
        keys = {"pretrain": "lr, backbone_lr, head_lr", "finetune": "lr, classifier_lr, encoder_lr"}
        instead = " or set pretrain.mixed_precision=fp32" if precision else ""
        return SettingError(
            what,
            where=", ".join(f"{self.stage}.{key}" for key in keys.get(self.stage, "lr").split(", ")),
            rows=[f"epoch {at.epoch}, step {at.step}, learning rates {rates}"],
            mend=f"lower the learning rates, as in `mufin {self.stage} -d NAME -S {self.stage}.lr=1e-4`{instead}",
        )
