"""Pickles that leave a mark when they run, in each place where a loader could be led to run one."""

from __future__ import annotations

import io
import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch


@dataclass(frozen=True)
class Mark:
    """Unpickled, it makes the file `at`."""

    at: Path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.at),)


def plain(at: Path) -> bytes:
    return pickle.dumps(Mark(at))


def array(at: Path) -> bytes:
    """A .npy file of objects."""
    out = io.BytesIO()
    np.save(out, np.array([Mark(at)], object), allow_pickle=True)
    return out.getvalue()


def arrays(at: Path) -> bytes:
    """An .npz file whose every array is one of objects."""
    out = io.BytesIO()
    bad = np.array([Mark(at)], object)
    np.savez(out, format=bad, indptr=bad, data=bad, shape=bad, indices=bad, allow_pickle=True)
    return out.getvalue()


def tensors(at: Path) -> bytes:
    """A torch checkpoint."""
    out = io.BytesIO()
    torch.save({"key": Mark(at)}, out)
    return out.getvalue()
