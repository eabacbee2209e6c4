"""The re-ranker: small networks that weigh the evidence for each label of a shortlist, their outputs averaged.

Trained on the labelled items by what the ridge says of them left out, which is what it says of new ones. The loss sets
each true label against all others of the shortlist that are not true (decoupled softmax, as in DEXML), so that two true
labels never compete.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_model
from torch import Tensor, nn

from mufin_model.arrays import read_model
from mufin_model.artefacts import read_json, write_json
from mufin_model.losses.softmax import decoupled_softmax

HIDDEN, DROPOUT = 64, 0.1
BATCH = 128
"""Items."""

RATE, DECAY = 2e-3, 1e-2

LEAST = 20
"""Items with a true label to learn from, below which networks would say what they happened to start with."""

FAR = 10.0
"""Deviations at most that an item's evidence counts for: some of it hardly varies among the items trained on."""


class Network(nn.Module):
    """Evidence [.., E] to a score [..]: a linear map joined by a perceptron."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        self.perceptron = nn.Sequential(
            nn.Linear(width, HIDDEN), nn.GELU(), nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN, HIDDEN), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, 1),
        )  # fmt: skip

    def forward(self, evidence: Tensor) -> Tensor:
        out: Tensor = (self.linear(evidence) + self.perceptron(evidence)).squeeze(-1)
        return out


class Reranker(nn.Module):
    """Several networks over standardised evidence."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int, networks: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.networks = nn.ModuleList(Network(width) for _ in range(networks))

    def forward(self, evidence: Tensor) -> Tensor:
        """Scores [n, S] of evidence [n, S, E]."""
        seen = self.standardised(evidence)
        return torch.stack([network(seen) for network in self.networks]).mean(0)

    def standardise_by(self, evidence: Tensor) -> None:
        """Take mean and deviation of evidence [n, S, E]; what is constant there is left in its own unit."""
        deviation = evidence.flatten(0, 1).std(0, correction=0)
        self.mean.copy_(evidence.flatten(0, 1).mean(0))
        self.deviation.copy_(torch.where(deviation > 1e-6, deviation, 1.0))

    def standardised(self, evidence: Tensor) -> Tensor:
        """Evidence in deviations from its mean, FAR at most."""
        return ((evidence - self.mean) / self.deviation).clamp(-FAR, FAR)

    @torch.inference_mode()
    def score(self, evidence: Tensor, batch: int = 1024) -> np.ndarray:
        """The same in batches, float32 on the CPU."""
        self.eval()
        device = self.mean.device
        parts = [self(some.to(device)).float().cpu() for some in evidence.split(batch)]
        return torch.cat(parts).numpy() if parts else np.zeros(evidence.shape[:2], np.float32)

    def save(self, folder: Path) -> None:
        """Write a folder."""
        folder.mkdir()
        write_json(folder / "config.json", {"width": len(self.mean), "networks": len(self.networks)})
        save_model(self, str(folder / "model.safetensors"))

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> Reranker:
        """Read a folder.

        Raises:
            ArtefactError: files are missing or damaged.
        """
        config = read_json(folder / "config.json")
        made = cls(config["width"], config["networks"])
        read_model(made, folder / "model.safetensors")
        return made.to(device).eval()


def train(
    evidence: Tensor, true: Tensor, real: Tensor, networks: int, epochs: int, seed: int, device: torch.device
) -> Reranker | None:
    """Train on n items; None where fewer than LEAST of them have a true label.

    Args:
        evidence: [n, S, E].
        true: which labels are true, bool [n, S]; real: which count at all, [n, S], all true ones among them.
        networks: trained one after the other, each from a seed of its own.
        epochs: passes over the items.
        seed: of weights and order.
        device: to train on.
    """
    usable = np.flatnonzero(true.any(1).numpy())
    if len(usable) < LEAST:
        return None
    made = Reranker(evidence.shape[-1], networks).to(device)
    made.standardise_by(evidence)
    for number, network in enumerate(made.networks):
        rng = np.random.default_rng([seed, 5, number])
        torch.manual_seed(seed * 1_000_003 + number)
        for part in network.modules():
            if isinstance(part, nn.Linear):
                part.reset_parameters()
        steps = epochs * -(-len(usable) // BATCH)
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
        network.train()
        for _ in range(epochs):
            order = rng.permutation(usable)
            for at in range(0, len(order), BATCH):
                some = torch.from_numpy(order[at : at + BATCH])
                scores = network(made.standardised(evidence[some].to(device)))
                loss = decoupled_softmax(scores, true[some].to(device), real[some].to(device))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
    return made.eval()
