"""The two backbones together: made, saved with an artefact, and run over every descriptor of a catalogue.

Text rows are the items' texts, then the labels'; image rows are those of the image store.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_model
from torch import Tensor, nn

from mufin_model.arrays import read_array, read_model
from mufin_model.artefacts import read_json, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.encoders.image import ImageEncoder
from mufin_model.encoders.text import TextEncoder, pad_batches
from mufin_model.errors import ArtefactError
from mufin_model.progress import Clock, say, track


class Backbones(nn.Module):
    """E_V and E_T. Each call gives the vectors of the rows asked for."""

    def __init__(self, image: ImageEncoder, text: TextEncoder) -> None:
        super().__init__()
        self.image, self.text = image, text

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.text.save(folder / "text")
        save_model(self.image, str(folder / "image.safetensors"))
        write_json(
            folder / "backbones.json",
            {
                "image": self.image.name,
                "image_size": self.image.size,
                "image_scaled": self.image.scaled,
                "max_tokens": self.text.max_tokens,
            },
        )

    def fuse(self, device: torch.device) -> None:
        """Let torch fuse both backbones' kernels, whatever the batch's size. GPUs alone: ignored on a CPU."""
        if device.type != "cuda":
            say("pretrain.compile is for GPUs: ignored on this CPU")
            return
        for backbone in (self.image.backbone, self.text.backbone):
            if backbone is not None:
                backbone.compile(dynamic=True)

    @classmethod
    def load(cls, folder: Path) -> Backbones:
        config = read_json(folder / "backbones.json")
        image = ImageEncoder(config["image"], "none", config["image_size"], config["image_scaled"])
        read_model(image, folder / "image.safetensors")
        try:
            text = TextEncoder.load(folder / "text", config["max_tokens"])
        except Exception as error:  # transformers raises anything for damaged files
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise ArtefactError(
                f"the text encoder does not load: {reason}", where=str(folder / "text"), mend="run its stage again"
            ) from error
        return cls(image, text)


def catalog_texts(catalog: Catalog) -> list[str]:
    """The items' texts, then the labels'."""
    return catalog.items["text"].to_list() + catalog.labels["text"].to_list()


DECODED = 1024
"""Images decoded at once."""


def pixels(catalog: Catalog, folder: Path, size: int, decode: bool = True, clock: Clock | None = None) -> np.ndarray:
    """Every image decoded once into a file on disk: uint8 [n_images, 3, size, size], memory-mapped.

    Args:
        decode: False opens the file that another process has decoded them into.
        clock: of the stage, in which these batches are the part "decode".
    """
    shape = (len(catalog.images), 3, size, size)
    if shape[0] == 0:
        return np.zeros(shape, np.uint8)
    if not decode:
        return read_array(folder / "pixels.npy", mmap=True)
    table = np.lib.format.open_memmap(folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape)
    for at in track(range(0, shape[0], DECODED), "decode images", clock=clock, part="decode"):
        rows = np.arange(at, min(at + DECODED, shape[0]))
        table[rows] = catalog.images.pixels(rows)
    return table


@torch.inference_mode()
def encode_images(
    encoder: nn.Module, table: np.ndarray, batch: int, device: torch.device, clock: Clock | None = None
) -> Tensor:
    """uint8 [n, 3, s, s] to float32 [n, width] on the CPU. `encoder` is E_V, or E_V with what follows it.

    Args:
        clock: of the stage, in which these batches are the part "images".
    """
    encoder.eval()
    out = [
        encoder(torch.from_numpy(np.ascontiguousarray(table[at : at + batch])).to(device)).float().cpu()
        for at in track(range(0, len(table), batch), "encode images", clock=clock, part="images")
    ]
    return torch.cat(out) if out else torch.zeros(0, 1)


@torch.inference_mode()
def encode_texts(
    encoder: nn.Module, ids: Tensor, mask: Tensor, batch: int, device: torch.device, clock: Clock | None = None
) -> Tensor:
    """Token ids [n, T] and mask to float32 [n, width] on the CPU.

    Args:
        clock: of the stage, in which these batches are the part "texts".
    """
    encoder.eval()
    lengths = mask.sum(1)
    out: Tensor | None = None
    for rows in track(pad_batches(lengths, batch), "encode texts", clock=clock, part="texts"):
        longest = int(lengths[rows].max())
        vectors = encoder(ids[rows, :longest].to(device), mask[rows, :longest].to(device)).float().cpu()
        if out is None:
            out = torch.zeros(len(ids), vectors.shape[1])
        out[rows] = vectors
    return out if out is not None else torch.zeros(0, 1)
