"""Arrays and tensors of artefacts, read so that a damaged file is told by its name and nothing in it is ever run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mufin_model.errors import ArtefactError

if TYPE_CHECKING:
    import torch

MEND = "run its stage again"


def read_array(path: Path, mmap: bool = False, mend: str = MEND) -> np.ndarray:
    """Read a .npy file; one that holds pickled objects is refused.

    Args:
        path: the file.
        mmap: map it, read-only, in place of reading it.
        mend: what to do where it cannot be read.

    Raises:
        ArtefactError: the file is missing, damaged or holds objects.
    """
    try:
        array: Any = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            array.close()
            raise ValueError("several arrays where one should be")
    except Exception as error:  # a damaged header raises anything
        raise ArtefactError(f"the array does not load: {error}", where=str(path), mend=mend) from error
    return array


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a .safetensors file, on the CPU.

    Raises:
        ArtefactError: the file is missing or damaged.
    """
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # SafetensorError and whatever else damaged bytes lead to
        raise ArtefactError(f"the tensors do not load: {error}", where=str(path), mend=MEND) from error


def fill(module: torch.nn.Module, tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Give a module its weights, which were read from `path`.

    Raises:
        ArtefactError: names or shapes are not the module's.
    """
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise _misfit(error, path) from error


def read_model(module: torch.nn.Module, path: Path) -> None:
    """Give a module all the weights of a .safetensors file; tensors that the module shares lie there once.

    Raises:
        ArtefactError: the file is missing or damaged, or its names or shapes are not the module's.
    """
    from safetensors.torch import load_model

    try:
        load_model(module, path)
    except RuntimeError as error:
        raise _misfit(error, path) from error
    except Exception as error:
        raise ArtefactError(f"the tensors do not load: {error}", where=str(path), mend=MEND) from error


def _misfit(error: RuntimeError, path: Path) -> ArtefactError:
    rows = str(error).splitlines()[1:]
    return ArtefactError("these weights do not fit the model", where=str(path), rows=rows, mend=MEND)
