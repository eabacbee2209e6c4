"""Arrays and tensors of artefacts, read so that a damaged file is told by its name and nothing in it is ever run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mufin_model.errors import ArtefactError, in_words

if TYPE_CHECKING:
    import torch
    from scipy.sparse import csr_matrix

MEND = "run its stage again"


def read_array(
    path: Path, mmap: bool = False, mend: str = MEND, shape: tuple[int | None, ...] | None = None
) -> np.ndarray:
    """Read a .npy file; one that holds pickled objects is refused.

    Args:
        path: the file.
        mmap: map it, read-only, in place of reading it.
        mend: what to do where it cannot be read.
        shape: that it must have; None fits any length.

    Raises:
        ArtefactError: the file is missing, damaged, holds objects or is of another shape.
    """
    try:
        array: Any = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            array.close()
            raise ValueError("several arrays where one should be")
    except Exception as error:  # a damaged header raises anything
        fault = str(error).partition(". ")[0]  # numpy goes on with the advice to load a pickle
        raise ArtefactError(f"the array does not load: {fault}", where=str(path), mend=mend) from error
    if shape is not None and (
        array.ndim != len(shape) or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True))
    ):
        wanted = " x ".join("any" if side is None else f"{side:,}" for side in shape)
        raise ArtefactError(f"the array is of shape {array.shape}, not {wanted}", where=str(path), mend=mend)
    return array


def read_sparse(path: Path) -> csr_matrix:
    """Read a sparse matrix from a .npz file; one that holds pickled objects is refused.

    Raises:
        ArtefactError: the file is missing or damaged.
    """
    from scipy.sparse import csr_matrix, load_npz

    try:
        matrix = csr_matrix(load_npz(path))
        matrix.check_format(full_check=True)
    except Exception as error:  # a damaged archive or header raises anything
        raise ArtefactError(f"the matrix does not load: {in_words(error)}", where=str(path), mend=MEND) from error
    return matrix


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a .safetensors file, on the CPU.

    Raises:
        ArtefactError: the file is missing or damaged.
    """
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # SafetensorError and whatever else damaged bytes lead to
        raise ArtefactError(f"the tensors do not load: {in_words(error)}", where=str(path), mend=MEND) from error


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
        raise ArtefactError(f"the tensors do not load: {in_words(error)}", where=str(path), mend=MEND) from error


def _misfit(error: RuntimeError, path: Path) -> ArtefactError:
    rows = str(error).splitlines()[1:]
    return ArtefactError("these weights do not fit the model", where=str(path), rows=rows, mend=MEND)
