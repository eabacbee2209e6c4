"""A damaged file of an artefact stops the stage that reads it with an error that names the file; nothing in it runs."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mufin_model.errors import MufinError

from ..catalog.hostile_pickles import array, plain, tensors
from ..conftest import Small

READ = {
    "encode": {"raw_descriptors": ("items.parquet", "labels.parquet", "links.parquet", "images/index.json")},
    "pretrain": {
        "encoder_embeddings": (
            *("backbones/backbones.json", "backbones/image.safetensors", "backbones/text/model.safetensors"),
            *("backbones/text/config.json", "backbones/text/tokenizer.json"),
        ),
    },
    "index": {"pretrained_model": ("item_embeddings.npy", "label_embeddings.npy")},
    "mine": {"anns_index": ("index.faiss",), "pretrained_model": ("item_embeddings.npy",)},
    "finetune": {
        "mined_negatives": ("labels.npy", "scores.npy", "positive.npy"),
        "pretrained_model": ("config.json", "image.npy", "text.npy", "model.safetensors", "label_embeddings.npy"),
    },
    "predict": {
        "anns_index": ("index.faiss", "labels.npy"),
        "finetuned_classifiers": (
            *("config.json", "model.safetensors", "ridge/featurizer/featurizer.json", "ridge/featurizer/words.json"),
            *(
                "ridge/featurizer/usual_ink.npy",
                "ridge/known/words.npz",
                "ridge/known/ink.npy",
                "ridge/labels/links.npz",
            ),
            *("ridge/text/config.json", "ridge/text/weights.npy", "ridge/text/reranker/model.safetensors"),
            *("ridge/image/reranker/config.json", "ridge/text+image/left_out/labels.npy"),
        ),
    },
    "evaluate": {"predictions": ("mufin.npz",)},
}
"""Files of the artefacts that each stage reads."""


def half(data: bytes, mark: Path) -> bytes:
    return data[: len(data) // 2]


def nothing(data: bytes, mark: Path) -> bytes:
    return b""


def bomb(data: bytes, mark: Path) -> bytes:
    return array(mark) if data.startswith(b"\x93NUMPY") else plain(mark)


def zipped(data: bytes, mark: Path) -> bytes:
    return tensors(mark)


def other(data: bytes, mark: Path) -> bytes:
    """Readable, and of another shape or without its keys."""
    out = io.BytesIO()
    if data.startswith(b"\x93NUMPY"):
        np.save(out, np.zeros((3, 2), np.float32))
    return out.getvalue() or b"{}"


DAMAGES: tuple[Callable[[bytes, Path], bytes], ...] = (half, nothing, bomb, zipped, other)
CASES = [(verb, noun, file) for verb, nouns in READ.items() for noun, files in nouns.items() for file in files]


@pytest.mark.parametrize(("verb", "noun", "file"), CASES, ids=["/".join(case) for case in CASES])
def test_damaged(built: Small, tmp_path: Path, verb: str, noun: str, file: str) -> None:
    verbs = ("ingest", "encode", "pretrain", "index", "mine", "finetune", "predict")
    before = verbs[: verbs.index(verb)] if verb in verbs else verbs
    small = built.branch(tmp_path / "work", before)
    folder = small.workspace.path(small.dataset, noun)
    folder.unlink()
    shutil.copytree(built.noun(noun), folder)
    whole = (folder / file).read_bytes()
    for damage in DAMAGES:
        (folder / file).write_bytes(damage(whole, tmp_path / "ran"))
        with pytest.raises(MufinError) as caught:
            small.run(verb)
        error = caught.value
        assert str(folder) in error.where, (damage.__name__, error)
        assert error.mend
        assert not (tmp_path / "ran").exists()
