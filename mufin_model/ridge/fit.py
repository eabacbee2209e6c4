"""What `finetune` leaves in its folder ridge/: closed-form classifiers, the re-ranker, and how well they do.

config.json, weights.npy   the kernel's form, its scale, and the classifiers, float16 [m, L]
featurizer/, known/        what the kernel compares, and that of the m labelled items, validation items included
labels/, links.npz         what is known of the labels
reranker/                  its networks
left_out/<seen>/           of the validation items, by the modalities seen: labels.npy int32 [n, S], ridge.npy and
                           reranker.npy [n, S]: what was said of them by classifiers that were fitted, and networks
                           that were trained, without them
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse

from mufin_model.artefacts import Workspace, read_json, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.links import contains
from mufin_model.config import Finetune, Settings
from mufin_model.progress import say
from mufin_model.ridge import evidence
from mufin_model.ridge.classifiers import CELLS, LIMIT, Fit, choose
from mufin_model.ridge.features import Featurizer
from mufin_model.ridge.kernel import Form
from mufin_model.ridge.reranker import Reranker, train

FOLDER = "ridge"
SPLITS = ("train", "val")
"""Whose items are labelled."""


def views(seen: Sequence[str]) -> list[tuple[str, ...]]:
    """All that is seen, then each modality alone."""
    whole = tuple(name for name in ("text", "image") if name in seen)
    return [whole, *((name,) for name in whole if len(whole) > 1)]


def read_form(folder: Path) -> Form:
    """The kernel's form that a folder was written with."""
    told: dict[str, Any] = read_json(folder / "config.json")["form"]
    pairs = {name: tuple(told[name]) for name in ("pictures", "images")}
    return Form(**{**told, **pairs})


def beyond(catalog: Catalog) -> str:
    """Why a catalogue gets no ridge; empty where it does."""
    labelled = sum(len(catalog.rows(split)) for split in SPLITS)
    if labelled > LIMIT:
        return f"{labelled:,} labelled items are beyond its limit of {LIMIT:,}"
    if labelled * catalog.n_seen > CELLS:
        return f"{labelled:,} labelled items x {catalog.n_seen:,} labels are beyond its limit of {CELLS:,}"
    return "" if labelled else "no item is labelled"


def write_for(
    workspace: Workspace,
    dataset: str,
    settings: Settings,
    catalog: Catalog,
    out: Path,
    device: torch.device,
    kept: Path | None = None,
) -> None:
    """Write the folder ridge/ into `out`, for a model that goes on from the dataset's `pretrained_model`.

    Raises:
        ArtefactError: an earlier artefact is missing.
    """
    told = read_json(workspace.read(dataset, "pretrained_model") / "config.json")
    frozen = [name for name, tuned in told["tuned"].items() if not tuned]
    encoded, seen = workspace.read(dataset, "encoder_embeddings"), told["modalities"]
    write(out / FOLDER, catalog, encoded, seen, frozen, settings.finetune, settings.seed, device, kept)


@torch.no_grad()
def write(
    folder: Path,
    catalog: Catalog,
    encoded: Path,
    seen: Sequence[str],
    frozen: Sequence[str],
    settings: Finetune,
    seed: int,
    device: torch.device,
    kept: Path | None = None,
) -> None:
    """Fit everything and write the folder; nothing where the catalogue is beyond the limits.

    Args:
        folder: does not exist yet.
        catalog: its labelled items are those of SPLITS.
        encoded: the artefact `encoder_embeddings`.
        seen: modalities that the model is to look at.
        frozen: modalities whose backbone was not tuned.
        settings: of the re-ranker.
        seed: of every choice.
        device: to compute on.
        kept: an earlier such folder, whose form and re-ranker are to be kept.
    """
    if why := beyond(catalog):
        say(f"ridge left out: {why}")
        return
    rows = np.concatenate([catalog.rows(split) for split in SPLITS])
    links = sparse.vstack([catalog.links(split) for split in SPLITS]).tocsr()
    featurizer = Featurizer.fit(catalog, encoded, rows, frozen, device)
    items, labels = featurizer.of_catalog(catalog, encoded)
    known, labels = items.take(rows), labels.take(np.arange(catalog.n_seen))
    form = read_form(kept) if kept else choose(known, links, seen, seed)
    fit = Fit(known, links, form, seen)
    told = evidence.Labels(labels, links)
    lists, found, first = {}, {}, {}
    alone = {view: fit.left_out(view) for view in views(seen)}
    for view, scores in alone.items():
        parts = [scores, *(alone.get((name,), scores) * (name in view) for name in ("text", "image"))]
        lists[view], found[view] = evidence.gather(fit.pair, told, parts, view, settings.reranked, own=True)
        first[view] = np.take_along_axis(scores.cpu().numpy(), lists[view], 1)
    true = {view: torch.from_numpy(contains(links, lists[view])) for view in lists}
    ready = {view: (found[view], true[view]) for view in lists}
    trained, held_out = np.arange(len(catalog.rows("train"))), np.arange(len(catalog.rows("train")), len(rows))

    def reranker(on: np.ndarray) -> Reranker:
        if kept:
            return Reranker.load(kept / "reranker", device)
        with torch.enable_grad():
            return train(ready, on, settings.reranker_networks, settings.reranker_epochs, seed, device)

    without = reranker(trained)
    final = reranker(np.arange(len(rows))) if len(held_out) else without
    folder.mkdir()
    ridge = fit.ridge
    write_json(
        folder / "config.json",
        {
            "form": dataclasses.asdict(form),
            "scale": ridge.scale,
            "width": ridge.width,
            "seen": list(seen),
            "reranked": settings.reranked,
        },
    )
    np.save(folder / "weights.npy", ridge.weights.half().cpu().numpy())
    featurizer.save(folder / "featurizer")
    known.save(folder / "known")
    labels.save(folder / "labels")
    sparse.save_npz(folder / "links.npz", links)
    final.save(folder / "reranker")
    for view in lists:
        out = folder / "left_out" / "+".join(view)
        out.mkdir(parents=True)
        np.save(out / "labels.npy", lists[view][held_out].astype(np.int32))
        np.save(out / "ridge.npy", first[view][held_out].astype(np.float32))
        np.save(out / "reranker.npy", without.score(found[view][torch.from_numpy(held_out)]))
    say(f"ridge fitted on {len(rows):,} items")
