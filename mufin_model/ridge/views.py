"""Views: what is seen of an item. Classifiers are fitted and networks trained anew for each, since what serves all
modalities together serves none alone best; each view has a folder of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mufin_model.arrays import read_array
from mufin_model.artefacts import read_json, write_json
from mufin_model.ridge.classifiers import Ridge
from mufin_model.ridge.features import Features
from mufin_model.ridge.kernel import Form

Seen = tuple[str, ...]
"""Modalities, in the order of MODALITIES."""

MODALITIES = ("text", "image")


def view(seen: Sequence[str]) -> Seen:
    """These modalities, in order."""
    return tuple(name for name in MODALITIES if name in seen)


def views(seen: Sequence[str]) -> list[Seen]:
    """All that is seen, then each modality alone."""
    whole = view(seen)
    return [whole, *((name,) for name in whole if len(whole) > 1)]


def name_of(seen: Seen) -> str:
    """A view's folder."""
    return "+".join(seen)


def save_ridge(folder: Path, ridge: Ridge) -> None:
    """Write the view's folder below `folder`."""
    out = folder / name_of(ridge.seen)
    out.mkdir()
    told = {"form": dataclasses.asdict(ridge.form), "scale": ridge.scale, "width": ridge.width}
    write_json(out / "config.json", told)
    # Without the scale they are 1 / penalty at most; with it, float16 may not reach.
    np.save(out / "weights.npy", (ridge.weights / ridge.scale).half().cpu().numpy())


def read_form(folder: Path, seen: Seen) -> Form:
    """The kernel's form of a view below `folder`.

    Raises:
        ArtefactError: it is missing or damaged.
    """
    told: dict[str, Any] = read_json(folder / name_of(seen) / "config.json")["form"]
    pairs = {name: tuple(told[name]) for name in ("pictures", "images")}
    return Form(**{**told, **pairs})


def load_ridge(folder: Path, known: Features, seen: Seen, n_labels: int) -> Ridge:
    """Read the view's folder below `folder`.

    Raises:
        ArtefactError: files are missing, damaged or of another size.
    """
    config = read_json(folder / name_of(seen) / "config.json")
    weights = read_array(folder / name_of(seen) / "weights.npy", shape=(len(known), n_labels))
    there = torch.from_numpy(weights).to(known.pictured.device).float() * config["scale"]
    return Ridge(known, seen, read_form(folder, seen), there, config["scale"], config["width"])
