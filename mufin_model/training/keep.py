"""Refresh without training: the weights trained before, given the items and labels of today's catalogue.

    mufin refresh -d demo

Encoder, A_S, A_C and the classifiers of labels that were trained stay bit by bit. A label that the weights have not
seen is treated as a zero-shot one, by its own embedding; where it has training items, joined by their centroid, which
is where training would have begun (Module III). So a refresh depends on the trained weights and the catalogue alone:
one after another leaves what the last would have left by itself.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import torch
from safetensors.torch import save_model
from torch import Tensor
from torch.nn.functional import normalize

from mufin_model import run_mode
from mufin_model.arrays import read_array
from mufin_model.artefacts import Workspace, read_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.distrust import DAMAGED
from mufin_model.config import Settings
from mufin_model.errors import ArtefactError
from mufin_model.network import store
from mufin_model.network.bags import Bags
from mufin_model.network.classifiers import Classifiers
from mufin_model.network.embedder import TunedImages, unit_vectors
from mufin_model.network.score import label_side
from mufin_model.progress import say
from mufin_model.ridge import fit as ridge
from mufin_model.training.descriptors import pretrained_encoder, re_encode

LABELS = "labels.parquet"
"""id and trained (bool) of each row of what an artefact holds by label."""


def write_labels(folder: Path, catalog: Catalog, trained: np.ndarray | None = None) -> None:
    """Note which label each row is, and whether its weights were trained; all of them by default."""
    seen = catalog.labels["id"].head(catalog.n_seen)
    flags = np.ones(catalog.n_seen, bool) if trained is None else trained
    pl.DataFrame({"id": seen, "trained": flags}).write_parquet(folder / LABELS, statistics=False)


def rows_before(folder: Path, catalog: Catalog) -> tuple[np.ndarray, int]:
    """Where today's seen labels lie in an earlier artefact.

    Returns:
        Rows int64 [n_seen], -1 where the label was not trained; and how many rows there were.

    Raises:
        ArtefactError: there is none, or it does not say which labels it holds.
    """
    try:
        told = pl.read_parquet(folder / LABELS, columns=["id", "trained"])
    except DAMAGED as error:
        mend = "train once: `mufin retrain`"
        raise ArtefactError("no weights to keep", where=str(folder / LABELS), mend=mend) from error
    known = told.with_row_index("row").filter(pl.col("trained")).select("id", pl.col("row").cast(pl.Int64))
    today = catalog.labels.head(catalog.n_seen).select("id")
    return today.join(known, on="id", how="left", maintain_order="left")["row"].fill_null(-1).to_numpy(
        writable=True
    ), told.height


def start(catalog: Catalog, items: np.ndarray, labels: np.ndarray) -> Tensor:
    """Where classifiers start: the label's embedding joined with the centroid of its training items, [n_seen, D].

    Args:
        items: embeddings [n_items, D]; labels: [n_labels, D].
    """
    centroid = torch.from_numpy(catalog.links("train").T @ items[catalog.rows("train")])
    own = torch.from_numpy(labels[: catalog.n_seen])
    return normalize(normalize(centroid.float(), dim=1) + own, dim=1)


@torch.inference_mode()
def keep_pretrained(workspace: Workspace, dataset: str, noun: str = "pretrained_model") -> None:
    """Give today's descriptors, items and labels vectors from the encoder trained before.

    Raises:
        ArtefactError: there are no weights to keep.
    """
    catalog = Catalog.load(workspace.read(dataset, "raw_descriptors"))
    before, encoded = workspace.read(dataset, noun), workspace.read(dataset, "encoder_embeddings")
    rows, _ = rows_before(before, catalog)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with workspace.write(dataset, noun) as folder:
        run_mode.note(folder)
        encoder, _ = pretrained_encoder(before, catalog, encoded, workspace.state(dataset, noun))
        encoder.to(device)
        if isinstance(encoder.images, TunedImages):
            encoder.images.settle(device)
        old = store.load_pretrained(before, torch.device("cpu"))
        bags = old.bags(catalog)
        image, text = re_encode(encoder, (len(catalog.images), bags.n_items + bags.n_labels), bags=bags)
        every = unit_vectors(old.attention, bags, image, text, np.arange(bags.n_items + bags.n_labels)).numpy()
        items, labels = every[: bags.n_items], every[bags.n_items :]
        known = rows >= 0
        if read_json(before / "config.json").get("enriched"):
            labels[: catalog.n_seen][known] = read_array(before / "label_embeddings.npy")[rows[known]]
        arrays = {"image": image.numpy(), "text": text.numpy(), "item_embeddings": items, "label_embeddings": labels}
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        if (before / "head.npy").is_file():
            head = start(catalog, items, labels).numpy()
            head[known] = read_array(before / "head.npy")[rows[known]]
            np.save(folder / "head.npy", head)
        _copy(before, folder, "model.safetensors", "config.json", "backbones", "loss.csv")
        write_labels(folder, catalog, known)
    say(f"weights kept: {known.sum():,} labels known, {(~known).sum():,} new; {len(items):,} items embedded")


@torch.inference_mode()
def keep_finetuned(workspace: Workspace, dataset: str, settings: Settings, noun: str = "finetuned_classifiers") -> None:
    """Give today's labels classifiers: the trained ones where there are, else where training would have begun.

    Raises:
        ArtefactError: there are no weights to keep.
    """
    catalog = Catalog.load(workspace.read(dataset, "raw_descriptors"))
    before, pretrained = workspace.read(dataset, noun), workspace.read(dataset, "pretrained_model")
    rows, n_before = rows_before(before, catalog)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with workspace.write(dataset, noun) as folder:
        run_mode.note(folder)
        base = store.load_pretrained(pretrained, device)
        bags = base.bags(catalog)
        ranker = store.load_finetuned(before, base, n_before, device).ranker
        items, labels = (read_array(pretrained / f"{name}_embeddings.npy") for name in ("item", "label"))
        known = torch.from_numpy(rows >= 0)
        ranker.classifiers = _classifiers(ranker.classifiers, start(catalog, items, labels), known, rows).to(device)
        image, text = base.image, base.text
        if (before / store.ENCODER).is_dir():
            image, text = _own_encoder(workspace, dataset, noun, catalog, bags, before, folder, device)
        np.save(
            folder / "classifiers.npy", label_side(ranker, bags, image, text, catalog.n_seen)[1].float().cpu().numpy()
        )
        save_model(ranker, str(folder / "model.safetensors"))
        _copy(before, folder, "config.json", "loss.csv")
        write_labels(folder, catalog, known.numpy())
        if (before / ridge.FOLDER).is_dir():
            # In closed form: what is kept of it is the kernel's form and the re-ranker.
            ridge.write_for(workspace, dataset, settings, catalog, folder, device, before / ridge.FOLDER)
    say(f"weights kept: {int(known.sum()):,} classifiers as they were, {int((~known).sum()):,} of new labels")


def _classifiers(old: Classifiers, begin: Tensor, known: Tensor, rows: np.ndarray) -> Classifiers:
    new = Classifiers(begin, old.free is not None)
    if new.free is not None and new.mixture is not None and old.free is not None and old.mixture is not None:
        at = torch.from_numpy(rows)[known]
        for mine, theirs in ((new.free, old.free), (new.mixture, old.mixture)):
            mine.weight.data[known] = theirs.weight.data.cpu()[at]
    return new.eval()


def _own_encoder(
    workspace: Workspace,
    dataset: str,
    noun: str,
    catalog: Catalog,
    bags: Bags,
    before: Path,
    folder: Path,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Descriptors as the encoder that was tuned along with the ranker sees them; kept in `folder` with its weights."""
    source, target = before / store.ENCODER, folder / store.ENCODER
    target.mkdir()
    encoder, _ = pretrained_encoder(
        workspace.read(dataset, "pretrained_model"),
        catalog,
        workspace.read(dataset, "encoder_embeddings"),
        workspace.state(dataset, noun),
        weights=source,
    )
    encoder.to(device)
    image, text = re_encode(encoder, (len(catalog.images), bags.n_items + bags.n_labels), bags=bags)
    np.save(target / "image.npy", image.numpy())
    np.save(target / "text.npy", text.numpy())
    _copy(source, target, "model.safetensors", "backbones")
    return image.to(device), text.to(device)


def _copy(source: Path, target: Path, *names: str) -> None:
    for name in names:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, copy_function=shutil.copyfile)
        elif (source / name).is_file():
            shutil.copyfile(source / name, target / name)
