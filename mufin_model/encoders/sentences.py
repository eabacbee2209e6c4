"""Text embeddings of `encode`, where they are of pretrained weights. No torch here: reports do without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mufin_model.arrays import read_array
from mufin_model.artefacts import read_json


def pretrained_sentences(encoded: Path) -> np.ndarray | None:
    """Embeddings of the items' texts, then the labels', by pretrained weights as they came: unit rows float32 [n, d],
    zero for an empty text, mapped from the file; None where the weights were random.

    Args:
        encoded: the artefact `encoder_embeddings`.

    Raises:
        ArtefactError: it is missing or damaged.
    """
    if read_json(encoded / "meta.json")["random_weights"]["text"]:
        return None
    return read_array(encoded / "text.npy", mmap=True, shape=(None, None))
