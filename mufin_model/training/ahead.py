"""Batches made ahead of the step: numpy gathers the next ones while the device computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

DEPTH = 2
"""Batches waiting at most."""

_END = object()


def ahead(batches: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """The batches in their order, on the device, each made on a thread of its own while earlier ones are in use.

    Copies to a GPU start from pinned memory and are not waited for. What the making of a batch raises is raised here.
    """
    source = iter(batches)

    def make() -> Any:
        batch = next(source, _END)
        return batch if batch is _END else send(batch, device)

    with ThreadPoolExecutor(1, "batches") as thread:
        waiting = deque(thread.submit(make) for _ in range(DEPTH))
        while (batch := waiting.popleft().result()) is not _END:
            waiting.append(thread.submit(make))
            yield batch


def send(value: Any, device: torch.device) -> Any:
    """Tensors on the device, also those inside tuples and dataclasses; all else as it is."""
    if isinstance(value, Tensor):
        if device.type != "cuda" or value.is_cuda:
            return value.to(device)
        return value.pin_memory().to(device, non_blocking=True)
    if isinstance(value, tuple):
        return tuple(send(each, device) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{field.name: send(getattr(value, field.name), device) for field in fields(value)})
    return value
