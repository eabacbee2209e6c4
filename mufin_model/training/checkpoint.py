"""All that a training goes on from after an epoch, in one file: written to one side and renamed.

Not in it: random numbers, which are drawn anew each epoch from the seed and the epoch, and the order of batches, which
follows from them.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mufin_model import owners
from mufin_model.progress import say
from mufin_model.training.stopping import Curve

FILE = "checkpoint.pt"

FORMAT = 2
"""Of the file: another one is not read."""


@dataclass
class State:
    """What trains, and what came of it so far.

    Attributes:
        model, optimizer, schedule: with their own `state_dict`; clusters and centroids are buffers of the model.
        scaler: of the loss in fp16, else None.
        curve: a row for each epoch that is done.
        best: the weights of the best epoch on the CPU; None where they are the present ones.
        skipped: steps in a row up to here that the scaler skipped.
        resumed: epochs that an earlier run has made.
    """

    model: nn.Module
    optimizer: Any
    schedule: Any
    scaler: Any
    curve: Curve
    best: dict[str, Tensor] | None = None
    skipped: int = 0
    resumed: int = 0

    def keep(self) -> None:
        """Remember the present weights as the best."""
        self.best = {name: value.detach().to("cpu", copy=True) for name, value in self.model.state_dict().items()}

    def write(self, folder: Path, key: str) -> None:
        """Write the checkpoint, in place of an earlier one."""
        path = folder / FILE
        aside = path.with_suffix(f".{owners.token()}")
        state = {name: getattr(self, name).state_dict() for name in ("model", "optimizer", "schedule")}
        state["scaler"] = None if self.scaler is None else self.scaler.state_dict()
        told = {"curve": self.curve, "best": self.best, "skipped": self.skipped}
        with aside.open("wb") as file:  # given a path, torch hides a full disk behind words of its own
            torch.save({"key": key, **told, **state}, file)
        os.replace(aside, path)

    def read(self, folder: Path, key: str, name: str) -> None:
        """Go on from the checkpoint of the same data and settings, if there is one; a damaged one is left aside.

        Args:
            name: of the stage, for messages.
        """
        path = folder / FILE
        if not path.is_file():
            return
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            say(f"{name}: the checkpoint does not load ({type(error).__name__}), starting anew")
            return
        if not isinstance(saved, dict) or saved.get("key") != key:
            return
        for part in ("model", "optimizer", "schedule"):
            getattr(self, part).load_state_dict(saved[part])
        if self.scaler is not None and saved["scaler"]:
            self.scaler.load_state_dict(saved["scaler"])
        self.curve, self.best, self.skipped = list(saved["curve"]), saved["best"], saved["skipped"]
        self.resumed = len(self.curve)
        say(f"{name}: resumed after epoch {self.resumed}")


def key_of(key: Any) -> str:
    """The name of a training: equal where a checkpoint may be resumed."""
    return hashlib.sha256(json.dumps([FORMAT, key], sort_keys=True, default=str).encode()).hexdigest()


def seed_epoch(seed: int, epoch: int, rank: int) -> None:
    """Set every source of random numbers to where it stands at an epoch's beginning; each rank draws others."""
    number = seed * 1_000_003 + epoch + (rank << 40)
    random.seed(number)
    np.random.seed(np.random.SeedSequence(number).generate_state(4))
    torch.manual_seed(number)
