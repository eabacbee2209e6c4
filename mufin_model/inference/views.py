"""How an item is scored is decided by what it shows: both modalities, or the one that it has.

Weights that serve both modalities best need not serve one. So each view has its fusion, chosen on validation items seen
through it, and an item without a picture is scored by text alone: in predictions and, by the same files, in serving.
An item that shows nothing gets the view of all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mufin_model.artefacts import read_json, write_json
from mufin_model.inference.fusion import Fusion
from mufin_model.ridge.views import Seen, name_of, view

VIEWS = "views"
"""In fusion.json, beside the fusion of all modalities: those of each alone, by the modality's name."""


def of_items(
    has_text: npt.NDArray[np.bool_], has_image: npt.NDArray[np.bool_], known: Sequence[Seen]
) -> npt.NDArray[np.int64]:
    """The number of each item's view in `known`, whose first is that of all modalities; int64 [n].

    Args:
        has_text, has_image: True where an item has that modality, [n].
        known: views that have a fusion.
    """
    out = np.zeros(len(has_text), np.int64)
    for number, seen in enumerate(known):
        if len(seen) == 1 and number:
            has, other = (has_text, has_image) if seen == ("text",) else (has_image, has_text)
            out[has & ~other] = number
    return out


def write(path: Path, fusions: Mapping[Seen, Fusion]) -> None:
    """Write fusion.json; the first is the fusion of all modalities."""
    whole, *others = fusions
    told: dict[str, Any] = dataclasses.asdict(fusions[whole])
    told[VIEWS] = {name_of(seen): dataclasses.asdict(fusions[seen]) for seen in others}
    write_json(path, told)


def read(path: Path, modalities: Sequence[str]) -> dict[Seen, Fusion]:
    """The fusions by view; of a release from before views had one each, that of all modalities alone.

    Raises:
        ArtefactError: the file is missing or damaged.
    """
    told = read_json(path)
    others = told.get(VIEWS, {})
    parts = {view(modalities): told} | {tuple(name.split("+")): one for name, one in others.items()}
    return {seen: Fusion(one["weights"], one["means"], one["deviations"]) for seen, one in parts.items()}
