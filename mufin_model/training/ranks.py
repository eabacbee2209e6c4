"""Training on several ranks, one process a device (torchrun, accelerate launch): who does what, and gathering.

Every rank draws the same batch from the same random numbers, embeds its own share, and gathers the embeddings of
all; so every rank knows each item, label and positive of the whole batch, and in-batch negatives are the whole
batch's. The gradients' mean over ranks is then that of one process. Only the main rank writes, validates and speaks.

    torchrun --nproc-per-node=4 -m mufin_model.cli pretrain --dataset NAME

What ranks draw for themselves differs between them and from one process: dropout, the shifts of `augment`.
Statistics of batch norm are those of the whole batch on GPUs and of the rank's share on CPUs (torch has no other).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from mufin_model.artefacts import Workspace
from mufin_model.config import Precision

Said = TypeVar("Said")

LARGE = 20_000_000
"""Parameters of backbones that train, from which on half precision is taken to pay: between the sizes measured, 7 and
140 million. A step of small ones takes as long as its host, which launches casts besides (benchmarks/results.md)."""

PATIENCE = timedelta(hours=6)
"""How long ranks wait while the main one validates or writes; as long as encoding a large catalogue may take."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together; alone, rank 0 of 1."""

    rank: int = 0
    count: int = 1

    def bounds(self, total: int, rank: int) -> tuple[int, int]:
        """First and last (exclusive) of `total` rows that a rank takes; shares differ by one row at most."""
        return rank * total // self.count, (rank + 1) * total // self.count

    def own(self, total: int) -> slice:
        """This rank's share of `total` rows."""
        return slice(*self.bounds(total, self.rank))

    def in_step(self, buffer: Tensor) -> None:
        """Overwrite a buffer with the main rank's."""
        if self.count > 1:
            torch.distributed.broadcast(buffer, 0)

    def gather(self, own: Tensor, total: int) -> Tensor:
        """Every rank's share [own rows, D], joined to [total, D]; gradients flow to each rank's own.

        What follows must be the same computation on each rank: the gradient of the whole is then known to each, and
        going backwards nothing is sent. It is scaled by the number of ranks, by which data parallelism divides.
        """
        if self.count == 1:
            return own
        joined: Tensor = _Gather.apply(own, self, total)
        return joined


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, ranks: Ranks, total: int) -> Tensor:
        ctx.ranks, ctx.total = ranks, total
        # Shares differ by a row, which collectives do not take: pad to the largest.
        largest = -(-total // ranks.count)
        padded = torch.cat([own.detach(), own.new_zeros(largest - len(own), *own.shape[1:])])
        every = own.new_empty(ranks.count * largest, *own.shape[1:])
        torch.distributed.all_gather_into_tensor(every, padded)
        sizes = [stop - start for start, stop in (ranks.bounds(total, rank) for rank in range(ranks.count))]
        return torch.cat([part[:size] for part, size in zip(every.split(largest), sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[ctx.ranks.own(ctx.total)] * ctx.ranks.count, None, None


def accelerator(asked: Precision, trained: int = 0) -> Accelerator:
    """Where and how precisely to compute, on all ranks that were launched.

    Args:
        asked: the precision that the settings ask for.
        trained: parameters of the backbones that train.
    """
    # cuDNN's attention in half precision is planned anew for each shape, which takes the host 16 ms a call.
    torch.backends.cuda.enable_cudnn_sdp(False)
    chosen = precision(asked, trained)
    mixed = "no" if chosen == "fp32" else chosen
    if AcceleratorState._shared_state.get("_mixed_precision", mixed) != mixed:
        # Accelerate fixes it for a process, which may run stages of several.
        AcceleratorState._reset_state()
    return Accelerator(
        mixed_precision=mixed,
        # Ranks on a CPU are joined only where they are asked for.
        cpu=not torch.cuda.is_available() and "LOCAL_RANK" in os.environ,
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=PATIENCE),
            # A share without any image leaves E_V unused. Buffers are in step without being sent at each step: they
            # follow from gathered embeddings (`seen`) or equal weights (spectral norms).
            DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False),
        ],
    )


def precision(asked: Precision, trained: int) -> Precision:
    """What `auto` is: bf16 where a GPU has it and the backbones that train are LARGE, else fp32."""
    if asked != "auto":
        return asked
    return "bf16" if trained >= LARGE and torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "fp32"


def ranks_of(accelerate: Accelerator) -> Ranks:
    """This process's place."""
    return Ranks(accelerate.process_index, accelerate.num_processes)


def main_says(accelerate: Accelerator, ask: Callable[[], Said]) -> Said:
    """What the main rank works out and tells the others, which wait."""
    said: list[Any] = [ask() if accelerate.is_main_process else None]
    broadcast_object_list(said)
    answer: Said = said[0]
    return answer


def synchronise_norms(accelerate: Accelerator, backbone: nn.Module) -> None:
    """Let the batch norms of an image backbone see the whole batch. GPUs alone: torch has it for no CPU."""
    if accelerate.num_processes > 1 and accelerate.device.type == "cuda":
        from timm.layers import convert_sync_batchnorm

        for name, child in backbone.named_children():
            setattr(backbone, name, convert_sync_batchnorm(child))


@contextmanager
def written(accelerate: Accelerator, workspace: Workspace, dataset: str, noun: str) -> Iterator[Path | None]:
    """The artefact's folder to fill on the main rank, None on the others; they leave together when it is complete."""
    with workspace.write(dataset, noun) if accelerate.is_main_process else nullcontext() as folder:
        yield folder
    accelerate.wait_for_everyone()
