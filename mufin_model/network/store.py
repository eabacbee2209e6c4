"""Trained models read back from their artefacts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mufin_model.arrays import fill, read_array, read_model, read_tensors
from mufin_model.artefacts import read_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.network.attention import SelfAttention
from mufin_model.network.bags import Bags
from mufin_model.network.classifiers import Classifiers
from mufin_model.network.ranker import Ranker

ENCODER = "encoder"
"""Folder of `finetuned_classifiers` with the encoder that was tuned along, and its descriptors."""


@dataclass(frozen=True)
class Pretrained:
    """What later stages need of Module I: projected descriptors and A_S."""

    modalities: list[str]
    early_fusion: bool
    dimension: int
    heads: int
    dropout: float
    attention: SelfAttention | None
    image: Tensor  # [n_images, D]
    text: Tensor  # [n_items + n_labels, D]; with early fusion twice as long, see Bags
    tuned: dict[str, bool]
    """Whether each modality's backbone was trained on."""

    def bags(self, catalog: Catalog, modalities: Sequence[str] = ("image", "text")) -> Bags:
        """Bags that show these of the modalities it was trained on."""
        return Bags(catalog, [m for m in self.modalities if m in modalities], fused=self.early_fusion)


def load_pretrained(folder: Path, device: torch.device) -> Pretrained:
    """Read `pretrained_model`, in evaluation mode."""
    config = read_json(folder / "config.json")
    attention = None
    if config["self_attention"]:
        attention = SelfAttention(config["dimension"], config["heads"], config["dropout"])
        prefix = "attention."
        saved = folder / "model.safetensors"
        state = read_tensors(saved)
        fill(attention, {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}, saved)
        attention.to(device).eval()
    shape = config["dimension"], config["heads"], config["dropout"]
    return Pretrained(
        config["modalities"],
        config["early_fusion"],
        *shape,
        attention,
        *descriptors(folder, device, shape[0]),
        config["tuned"],
    )


@dataclass(frozen=True)
class Finetuned:
    """What inference needs of Module IV: the ranker, and the descriptors that it sees."""

    ranker: Ranker
    image: Tensor  # [n_images, D]
    text: Tensor  # [n_items + n_labels, D]


def make_ranker(pretrained: Pretrained, classifiers: Classifiers, cross_attention: bool, scale: float) -> Ranker:
    """The ranker that goes on from a pretrained model; its A_S is a copy of that model's (Module III)."""
    attention = copy.deepcopy(pretrained.attention)
    return Ranker(
        pretrained.dimension, pretrained.heads, pretrained.dropout, attention, cross_attention, classifiers, scale
    )


def load_finetuned(folder: Path, pretrained: Pretrained, n_labels: int, device: torch.device) -> Finetuned:
    """Read `finetuned_classifiers`, in evaluation mode.

    Where it was trained end to end, its descriptors are those of its own encoder, else the pretrained ones.
    """
    config = read_json(folder / "config.json")
    classifiers = Classifiers(torch.zeros(n_labels, pretrained.dimension), config["classifiers"])
    ranker = make_ranker(pretrained, classifiers, config["cross_attention"], config["scale"])
    read_model(ranker, folder / "model.safetensors")
    ranker.to(device).eval()
    if not config["end_to_end"]:
        return Finetuned(ranker, pretrained.image, pretrained.text)
    return Finetuned(ranker, *descriptors(folder / ENCODER, device, pretrained.dimension))


def descriptors(folder: Path, device: torch.device, width: int) -> tuple[Tensor, Tensor]:
    """image.npy [n_images, D] and text.npy [n_items + n_labels, D] of a folder, D = width."""
    image, text = read_array(folder / "image.npy"), read_array(folder / "text.npy", shape=(None, width))
    if image.size:  # without any image the array is of no width in particular
        image = read_array(folder / "image.npy", shape=(None, width))
    return torch.from_numpy(image).to(device), torch.from_numpy(text).to(device)


def stamps(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of a folder's files: equal as long as nothing was rewritten."""
    return sorted((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in folder.glob("*") if p.is_file())
