"""What `finetune` leaves in its folder ridge/: closed-form classifiers, the re-ranker, and how well they do.

featurizer/, known/  what the kernel compares, and that of the m labelled items, validation items included
labels/              what is known of the labels
<seen>/              by the modalities seen, all and each alone, as `views` tells:
  config.json, weights.npy   the kernel's form, its scale, and the classifiers before it, float16 [m, L]
  reranker/                  networks trained on the training items; where too few of them teach anything, none
  left_out/                  of the validation items: labels.npy int32 [n, S], ridge.npy and reranker.npy [n, S]: what
                             classifiers that were fitted without them say, and networks that were trained without them
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from mufin_model.artefacts import Workspace, read_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.links import contains
from mufin_model.config import Finetune, Settings
from mufin_model.progress import say
from mufin_model.ridge import evidence
from mufin_model.ridge.classifiers import CELLS, LIMIT, Fit, choose
from mufin_model.ridge.features import Featurizer
from mufin_model.ridge.reranker import Reranker, train
from mufin_model.ridge.views import Seen, name_of, read_form, save_ridge, views

FOLDER = "ridge"
RERANKER, LEFT_OUT = "reranker", "left_out"
SPLITS = ("train", "val")
"""Whose items are labelled."""


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
    links, removed = (
        sparse.vstack([of(split) for split in SPLITS]).tocsr() for of in (catalog.weighted, catalog.filters)
    )
    featurizer = Featurizer.fit(catalog, encoded, rows, frozen, device)
    items, labels = featurizer.of_catalog(catalog, encoded)
    known = items.take(rows)
    told = evidence.Labels(labels.take(np.arange(catalog.n_seen)), links)
    folder.mkdir()
    featurizer.save(folder / "featurizer")
    known.save(folder / "known")
    told.save(folder / "labels")
    trained = len(catalog.rows("train"))
    scores: dict[Seen, Tensor] = {}
    for view in reversed(views(seen)):  # each modality alone says something of all that is seen
        form = read_form(kept, view) if kept else choose(known, links, removed, view, seed)
        fit = Fit(known, links, form, view)
        save_ridge(folder, fit.ridge)
        scores[view] = fit.left_out()
        lists, found = evidence.gather(fit.pair, told, scores, view, settings.reranked, own=True)
        if kept:
            before = kept / name_of(view) / RERANKER
            reranker = Reranker.load(before, device) if before.is_dir() else None
        else:
            some = lists[:trained]
            true = contains(links[:trained], some)
            # Pairs that are taken out of predictions teach nothing, nor does a label that no other item has: left out,
            # the ridge knows nothing of it.
            real = ~contains(removed[:trained], some) & (told.others(lists, own=True)[:trained] > 0)
            with torch.enable_grad():
                reranker = train(
                    found[:trained],
                    torch.from_numpy(true & real),
                    torch.from_numpy(real),
                    settings.reranker_networks,
                    settings.reranker_epochs,
                    seed,
                    device,
                )
        out = folder / name_of(view) / LEFT_OUT
        out.mkdir()
        np.save(out / "labels.npy", lists[trained:].astype(np.int32))
        np.save(out / "ridge.npy", np.take_along_axis(scores[view].cpu().numpy(), lists, 1)[trained:])
        if reranker is None:
            say(f"no re-ranker by {' and '.join(view)}: too few items whose labels other items have")
            continue
        reranker.save(folder / name_of(view) / RERANKER)
        np.save(out / "reranker.npy", reranker.score(found[trained:]))
    say(f"ridge fitted on {len(rows):,} items")
