"""Stage `index`, Module II: augmented label vectors and their index. Leaves `anns_index`.

labels.npy    unit vectors float32 [n_labels, D], the zero-shot labels last
index.faiss   over the labels seen in training
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from mufin_model.artefacts import Workspace, read_json, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.config import Settings
from mufin_model.progress import say
from mufin_model.retrieval.index import VectorIndex


def run(workspace: Workspace, dataset: str, settings: Settings) -> None:
    """Index the labels of one dataset.

    Raises:
        ArtefactError: an earlier artefact is missing.
    """
    catalog = Catalog.load(workspace.read(dataset, "raw_descriptors"))
    pretrained = workspace.read(dataset, "pretrained_model")
    items, labels = np.load(pretrained / "item_embeddings.npy"), np.load(pretrained / "label_embeddings.npy")
    if settings.index.augment:
        image, text = np.load(pretrained / "image.npy"), np.load(pretrained / "text.npy")
        modalities = read_json(pretrained / "config.json")["modalities"]
        labels = augmented(catalog, items, labels, image, text[len(items) :], modalities)
    with workspace.write(dataset, "anns_index") as folder:
        index = VectorIndex(labels[: catalog.n_seen], settings.index)
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
) -> np.ndarray:
    """Label vectors joined by what else is known of each label (augmented retrieval, paper section 4).

    The mean of three unit vectors: the label's own, the centroid of its training items, and the mean of its
    unimodal vectors. The published code averages all vectors alike, which drowns a head label's own text
    under its items; a zero-shot label has no items, so nothing but its own vectors.

    Args:
        items: [n_items, D]; labels: [n_labels, D]; image: descriptors [n_images, D]; text: of labels [n_labels, D].
        modalities: those that the model was trained on; the other's projection was not.
    """
    links = catalog.links("train")
    centroid = np.zeros_like(labels)
    centroid[: catalog.n_seen] = links.T @ items[catalog.rows("train")]
    offsets, rows = catalog.label_images()
    owns = sparse.csr_matrix((np.ones(len(rows), np.float32), rows, offsets), shape=(len(labels), len(image)))
    has_text = np.array([bool(t) for t in catalog.labels["text"].to_list()], np.float32)[:, None]
    unimodal = np.zeros_like(labels)
    if "image" in modalities:
        unimodal += owns @ unit(image)
    if "text" in modalities:
        unimodal += unit(text) * has_text
    return unit(unit(labels) + unit(centroid) + unit(unimodal)).astype(np.float32)


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of unit norm; rows of zeros stay."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
