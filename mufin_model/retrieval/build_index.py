"""Stage `index`, Module II: augmented label vectors and their index. Leaves `anns_index`.

labels.npy    unit vectors float32 [n_labels, D], the zero-shot labels last
index.faiss   over the labels seen in training, but for head labels where these are searched exactly
head/         index.faiss over those, and rows.npy, the label of each row of both
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import sparse

from mufin_model.arrays import read_array
from mufin_model.artefacts import Workspace, read_json, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.config import Settings
from mufin_model.progress import say
from mufin_model.retrieval.label_index import LabelIndex


def run(workspace: Workspace, dataset: str, settings: Settings) -> None:
    """Index the labels of one dataset.

    Raises:
        ArtefactError: an earlier artefact is missing.
    """
    catalog = Catalog.load(workspace.read(dataset, "raw_descriptors"))
    pretrained = workspace.read(dataset, "pretrained_model")
    items = read_array(pretrained / "item_embeddings.npy", shape=(catalog.items.height, None))
    labels = read_array(pretrained / "label_embeddings.npy", shape=(catalog.n_labels, items.shape[1]))
    if settings.index.augment:
        image, text = read_array(pretrained / "image.npy"), read_array(pretrained / "text.npy")
        modalities = read_json(pretrained / "config.json")["modalities"]
        weights = settings.index.augment_weights
        labels = augmented(
            catalog, items, labels, image, text[len(items) : len(items) + len(labels)], modalities, weights
        )
    with workspace.write(dataset, "anns_index") as folder:
        index = LabelIndex(labels[: catalog.n_seen], catalog.label_counts(), settings.index)
        index.save(folder)
        np.save(folder / "labels.npy", labels)
        write_json(folder / "config.json", settings.index.model_dump() | {"labels": len(index)})
    say(f"indexed {len(index):,} labels ({settings.index.kind})")


def augmented(
    catalog: Catalog,
    items: np.ndarray,
    labels: np.ndarray,
    image: np.ndarray,
    text: np.ndarray,
    modalities: Sequence[str],
    weights: Sequence[float] | Literal["mean"],
) -> np.ndarray:
    """Label vectors joined by what else is known of each label (augmented retrieval, paper section 4).

    The published code averages all unit vectors alike: the label's own, its training items' and its unimodal ones.
    So a label of 100 items keeps a hundredth of its own vector; weights set the three groups against each other,
    whatever their sizes. A zero-shot label has no items, so nothing but its own vectors.

    Args:
        items: [n_items, D]; labels: [n_labels, D]; image: descriptors [n_images, D]; text: of labels [n_labels, D].
        modalities: those that the model was trained on; the other's projection was not.
        weights: of the label's own vector, the centroid of its items and that of its unimodal vectors; or "mean".

    Returns:
        Unit rows float32 [n_labels, D].
    """
    links = catalog.links("train")
    around = np.zeros_like(labels)
    around[: catalog.n_seen] = links.T @ unit(items[catalog.rows("train")])
    offsets, rows = catalog.label_images()
    owns = sparse.csr_matrix((np.ones(len(rows), np.float32), rows, offsets), shape=(len(labels), len(image)))
    has_text = np.array([bool(t) for t in catalog.labels["text"].to_list()], np.float32)[:, None]
    unimodal = np.zeros_like(labels)
    if "image" in modalities:
        unimodal += owns @ unit(image)
    if "text" in modalities:
        unimodal += unit(text) * has_text
    if weights == "mean":
        return unit(unit(labels) + around + unimodal).astype(np.float32)
    own, near, alone = weights
    return unit(own * unit(labels) + near * unit(around) + alone * unit(unimodal)).astype(np.float32)


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of unit norm; rows of zeros stay."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
