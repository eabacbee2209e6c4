"""Trained models read back from their artefacts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from mufin_model.artefacts import read_json
from mufin_model.network.attention import SelfAttention
from mufin_model.network.classifiers import Classifiers
from mufin_model.network.ranker import Ranker


@dataclass(frozen=True)
class Pretrained:
    """What later stages need of Module I: projected descriptors and A_S."""

    modalities: list[str]
    dimension: int
    heads: int
    dropout: float
    attention: SelfAttention | None
    image: Tensor  # [n_images, D]
    text: Tensor  # [n_items + n_labels, D]


def load_pretrained(folder: Path, device: torch.device) -> Pretrained:
    """Read `pretrained_model`, in evaluation mode."""
    config = read_json(folder / "config.json")
    attention = None
    if config["self_attention"]:
        attention = SelfAttention(config["dimension"], config["heads"], config["dropout"])
        prefix = "attention."
        state = load_file(folder / "model.safetensors")
        attention.load_state_dict({k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)})
        attention.to(device).eval()
    image, text = (torch.from_numpy(np.load(folder / f"{name}.npy")).to(device) for name in ("image", "text"))
    return Pretrained(
        config["modalities"], config["dimension"], config["heads"], config["dropout"], attention, image, text
    )


def load_ranker(folder: Path, pretrained: Pretrained, n_labels: int, device: torch.device) -> Ranker:
    """Read the ranker of `finetuned_classifiers`, in evaluation mode."""
    config = read_json(folder / "config.json")
    attention = None
    if pretrained.attention is not None:
        attention = SelfAttention(pretrained.dimension, pretrained.heads, pretrained.dropout)
    ranker = Ranker(
        pretrained.dimension,
        pretrained.heads,
        pretrained.dropout,
        attention,
        config["cross_attention"],
        Classifiers(torch.zeros(n_labels, pretrained.dimension), config["classifiers"]),
        config["scale"],
    )
    ranker.load_state_dict(load_file(folder / "model.safetensors"))
    return ranker.to(device).eval()


def stamps(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of a folder's files: equal as long as nothing was rewritten."""
    return sorted((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in folder.glob("*") if p.is_file())
