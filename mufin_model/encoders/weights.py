"""Pretrained weights from a file into a network."""

from __future__ import annotations

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mufin_model.encoders.weight_files import state_file
from mufin_model.errors import SettingError


def load(model: nn.Module, whole: nn.Module, name: str, what: str) -> None:
    """Fill a backbone with the weights that a setting names.

    They fit by name or, written by another implementation of the same network, by order: every tensor must then
    have its counterpart's shape.

    Args:
        model: to fill; may lack the head.
        whole: the same network with its head, whose state dict gives the order.
        name: of the setting.
        what: the network's name, for the error.

    Raises:
        SettingError: they cannot be read, or do not fit.
    """
    path = state_file(name)
    try:
        # weights_only: no pickle runs.
        state: dict[str, Tensor] = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:
        raise SettingError(
            f"cannot read image weights: {' '.join(str(error).split())[:300]}",
            where=f"encode.image_weights, {path}",
            mend="download it again, or write its tensors with safetensors or as a state dict",
        ) from error
    wanted = model.state_dict()
    if not wanted.keys() <= state.keys():
        known = whole.state_dict()
        if [t.shape for t in known.values()] == [t.shape for t in state.values()]:
            state = dict(zip(known, state.values(), strict=True))
    wrong = [n for n, t in wanted.items() if n not in state or state[n].shape != t.shape]
    if wrong:
        raise SettingError(f"these weights do not fit {what}", where=str(path), rows=wrong, mend="name their model")
    model.load_state_dict({n: state[n] for n in wanted})
