"""The artefacts of training and after, small and good, and for each of their rules a way to break it.

Every function takes the dataset's folder. 14 items (8 of training, 4 of test), 4 seen labels and one zero-shot label.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy import sparse

from mufin_model.config import Index
from mufin_model.retrieval.label_index import LabelIndex

ITEMS, LABELS, SEEN, TRAIN, WIDTH = 14, 5, 4, 8, 16
TEST = range(10, 14)
INDEX = Index.model_construct(kind="flat", head_items=0)
NAN, INF = float("nan"), float("inf")

Break = Callable[[Path], None]


def write_good(data: Path) -> None:
    """All artefacts from pretrained_model to released_model; the release is of the same data."""
    rng = np.random.default_rng(1)
    labels = np.eye(LABELS, WIDTH, dtype=np.float32)
    items = labels[np.arange(ITEMS) % SEEN] + rng.normal(0, 0.15, (ITEMS, WIDTH)).astype(np.float32)
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    _pretrained(data / "pretrained_model", items, labels)
    _index(data / "anns_index", labels)
    _mined(data / "mined_negatives", items, labels)
    _weights(data / "finetuned_classifiers")
    np.save(data / "finetuned_classifiers" / "classifiers.npy", labels[:SEEN])
    _predictions(data / "predictions", items, labels)
    figures = {"P@1": 0.5, "nDCG@5": 0.6, "PSP@1": 0.4, "R@10": 0.8}
    metrics = {
        "mufin": figures,
        "popularity": dict.fromkeys(figures, 0.1),
        "intervals": {"popularity": {"difference": 0.4, "low": 0.3, "high": 0.5}},
        "buckets": {"mufin": {"1-2": {"recall_10": 0.8, "part_of_P_5": 0.1}}},
        "zero_shot": {"P@1": 1.0, "R@10": 1.0, "chance R@10": 1.0, "items": 1, "labels": 1},
    }
    _json(data / "eval_report" / "metrics.json", metrics)
    _json(data / "released_model" / "manifest.json", {"metrics": figures})
    for noun in ("raw_descriptors", "pretrained_model"):
        shutil.copytree(data / noun, data / "released_model" / noun)


def _pretrained(folder: Path, items: np.ndarray, labels: np.ndarray) -> None:
    _weights(folder)
    _weights(folder / "backbones")
    np.save(folder / "item_embeddings.npy", items)
    np.save(folder / "label_embeddings.npy", labels)


def _weights(folder: Path) -> None:
    folder.mkdir(parents=True)
    steps = np.array([7], np.int64)  # no float: cannot be infinite
    save_file({"a": np.ones((2, 3), np.float32), "b": np.ones(4, np.float16), "n": steps}, folder / "model.safetensors")
    (folder / "loss.csv").write_text("epoch,loss,val_p1\n1,2.5,0.1\n2,1.5,0.2\n")


def _index(folder: Path, labels: np.ndarray) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    LabelIndex(labels[:SEEN], np.full(len(labels[:SEEN]), 2), INDEX).save(folder)
    np.save(folder / "labels.npy", labels)


def _mined(folder: Path, items: np.ndarray, labels: np.ndarray) -> None:
    """Shortlists of all four labels and a padded place; an item's label is its row modulo four."""
    folder.mkdir()
    cosines = items[:TRAIN] @ labels[:SEEN].T
    order = np.argsort(-cosines, axis=1)
    pad = np.full((TRAIN, 1), -1)
    shortlist = np.concatenate([order, pad], axis=1).astype(np.int32)
    scores = np.concatenate([np.take_along_axis(cosines, order, 1), -np.inf * np.ones((TRAIN, 1))], axis=1)
    np.save(folder / "labels.npy", shortlist)
    np.save(folder / "scores.npy", scores.astype(np.float16))
    np.save(folder / "positive.npy", shortlist == np.arange(TRAIN)[:, None] % SEEN)


def _predictions(folder: Path, items: np.ndarray, labels: np.ndarray) -> None:
    folder.mkdir()
    scores = 2 + items[TEST] @ labels.T
    scores[0, 0] = 0  # the filtered pair
    for name in ("mufin", "ridge"):
        sparse.save_npz(folder / f"{name}.npz", sparse.csr_matrix(scores[:, :SEEN]))
    sparse.save_npz(folder / "zero_shot.npz", sparse.csr_matrix(scores[:, SEEN:]))


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))


def array(path: str, change: Callable[[np.ndarray], np.ndarray | None]) -> Break:
    """Change a .npy file, in place or by what `change` returns."""

    def apply(data: Path) -> None:
        found = np.load(data / path)
        changed = change(found)
        np.save(data / path, found if changed is None else changed)

    return apply


def put(place: Any, value: float) -> Callable[[np.ndarray], None]:
    """Set array[place]."""

    def change(found: np.ndarray) -> None:
        found[place] = value

    return change


def tensor(path: str, name: str, value: float) -> Break:
    """Set the first value of a tensor of a .safetensors file."""

    def apply(data: Path) -> None:
        tensors = load_file(data / path)
        tensors[name].ravel()[0] = value
        save_file(tensors, data / path)

    return apply


def bfloat16(path: str, value: int) -> Break:
    """Replace a .safetensors file by one that holds one bfloat16 of these bits, a kind that NumPy lacks."""

    def apply(data: Path) -> None:
        header = json.dumps({"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
        (data / path).write_bytes(len(header).to_bytes(8, "little") + header + value.to_bytes(2, "little"))

    return apply


def text(path: str, old: str, new: str) -> Break:
    """Replace in a text file."""

    def apply(data: Path) -> None:
        told = (data / path).read_text()
        assert old in told
        (data / path).write_text(told.replace(old, new))

    return apply


def matrix(name: str, change: Callable[[sparse.csr_matrix], sparse.csr_matrix | None]) -> Break:
    """Change a file of scores."""

    def apply(data: Path) -> None:
        path = data / "predictions" / name
        scores = sparse.csr_matrix(sparse.load_npz(path))
        changed = change(scores)
        sparse.save_npz(path, scores if changed is None else changed)

    return apply


def score(place: int, value: float) -> Callable[[sparse.csr_matrix], None]:
    def change(scores: sparse.csr_matrix) -> None:
        scores.data[place] = value

    return change


def label(place: int, value: int) -> Callable[[sparse.csr_matrix], None]:
    def change(scores: sparse.csr_matrix) -> None:
        scores.indices[place] = value

    return change


def keep(rows: list[int], columns: list[int]) -> Callable[[sparse.csr_matrix], sparse.csr_matrix]:
    """Scores at these places alone."""

    def change(scores: sparse.csr_matrix) -> sparse.csr_matrix:
        return sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=scores.shape)

    return change


def figure(name: str, value: Any, of: str = "mufin") -> Break:
    """Set a metric."""

    def apply(data: Path) -> None:
        told = json.loads((data / "eval_report/metrics.json").read_text())
        told[of][name] = value
        _json(data / "eval_report/metrics.json", told)

    return apply


def interval(difference: float, low: float, high: float) -> Break:
    """Put popularity so far ahead."""
    return figure("popularity", {"difference": difference, "low": low, "high": high}, of="intervals")


def index_of(change: Callable[[np.ndarray], np.ndarray]) -> Break:
    """Build the index of other vectors than labels.npy holds."""

    def apply(data: Path) -> None:
        labels = np.load(data / "anns_index/labels.npy")
        _index(data / "anns_index", change(labels[:SEEN]))
        np.save(data / "anns_index/labels.npy", labels)

    return apply


def same(found: np.ndarray) -> np.ndarray:
    return np.repeat(found[:1], len(found), axis=0)


def cone(found: np.ndarray) -> np.ndarray:
    """Vectors close about one axis, of length 1."""
    narrow = found * 0.1 + np.eye(1, WIDTH, WIDTH - 1)
    return (narrow / np.linalg.norm(narrow, axis=1, keepdims=True)).astype(found.dtype)


def plane(found: np.ndarray) -> np.ndarray:
    """Vectors on a circle."""
    angle = np.linspace(0, 6, len(found))[:, None]
    return (np.cos(angle) * np.eye(1, WIDTH) + np.sin(angle) * np.eye(1, WIDTH, 1)).astype(found.dtype)


def _broken_weights(noun: str) -> dict[str, list[Break]]:
    file = f"{noun}/model.safetensors"
    return {
        "weights_finite": [tensor(file, "a", NAN), tensor(file, "b", INF), bfloat16(file, 0x7F80)],
        "loss_finite": [text(f"{noun}/loss.csv", "1.5", "nan"), text(f"{noun}/loss.csv", "2.5", "inf")],
    }


def _broken_vectors(table: str, path: str) -> dict[str, list[Break]]:
    return {
        f"{table}_finite": [array(path, put((2, 3), NAN)), array(path, put((2, 3), INF))],
        f"{table}_unit": [array(path, put(2, 0.0)), array(path, put((2, 3), 7.0)), array(path, put(2, NAN))],
    }


ITEM_FILE, LABEL_FILE = "pretrained_model/item_embeddings.npy", "pretrained_model/label_embeddings.npy"
CLASSIFIERS = "finetuned_classifiers/classifiers.npy"
SHORTLIST, SCORES, POSITIVE = (f"mined_negatives/{name}.npy" for name in ("labels", "scores", "positive"))

BAD: dict[str, dict[str, list[Break]]] = {
    "pretrained_model": {
        **_broken_weights("pretrained_model"),
        "rows_match": [array(ITEM_FILE, lambda a: a[:-1]), array(LABEL_FILE, lambda a: np.vstack([a, a]))],
        **_broken_vectors("item_vectors", ITEM_FILE),
        **_broken_vectors("label_vectors", LABEL_FILE),
        "embeddings_not_constant": [array(ITEM_FILE, same), array(LABEL_FILE, same)],
        "embeddings_spread": [array(ITEM_FILE, cone)],
        "embeddings_not_collapsed": [array(ITEM_FILE, plane)],
        "items_stable": [array(ITEM_FILE, cone)],
        "labels_stable": [array(LABEL_FILE, cone)],
    },
    "anns_index": {
        "rows_match": [array("anns_index/labels.npy", lambda a: a[:-1]), index_of(lambda a: a[:-1])],
        **_broken_vectors("label_vectors", "anns_index/labels.npy"),
        "index_works": [index_of(lambda a: -a)],
        "index_recall": [index_of(lambda a: a[::-1])],
    },
    "mined_negatives": {
        "rows_match": [
            array(SHORTLIST, lambda a: a[:-1]),
            array(SCORES, lambda a: a[:, :-1]),
            array(POSITIVE, lambda a: a[:-1]),
        ],
        "labels_known": [array(SHORTLIST, put((1, 1), SEEN)), array(SHORTLIST, put((1, 4), -2))],
        "labels_once": [array(SHORTLIST, lambda a: np.where(np.arange(5) == 1, a[:, :1], a))],
        "positives_marked": [array(POSITIVE, put((2, 0), False)), array(POSITIVE, put((2, 1), True))],
        "scores_finite": [array(SCORES, put((3, 1), NAN)), array(SCORES, put((3, 1), -INF))],
        "items_have_negatives": [array(SHORTLIST, lambda a: np.where(np.arange(5) == 0, a, -1))],
        "positives_found": [array(SHORTLIST, put((slice(None), 0), -1))],
        "labels_covered": [array(SHORTLIST, lambda a: np.where(a == 1, a, -1))],
    },
    "finetuned_classifiers": {
        **_broken_weights("finetuned_classifiers"),
        "rows_match": [array(CLASSIFIERS, lambda a: a[:-1])],
        **_broken_vectors("label_vectors", CLASSIFIERS),
        "labels_told_apart": [array(CLASSIFIERS, lambda a: a[[0, 1, 2, 0]])],
        "classifiers_not_constant": [array(CLASSIFIERS, same)],
    },
    "predictions": {
        "shapes": [
            matrix("mufin.npz", lambda m: m[:-1]),
            matrix("ridge.npz", lambda m: m[:, :-1]),
            matrix("zero_shot.npz", lambda m: sparse.csr_matrix((4, 3))),
            lambda data: (data / "predictions/zero_shot.npz").unlink(),
        ],
        "scores_finite": [matrix("mufin.npz", score(2, NAN)), matrix("ridge.npz", score(2, INF))],
        "labels_known": [matrix("mufin.npz", label(2, -1)), matrix("ridge.npz", label(2, SEEN))],
        "labels_once": [matrix("mufin.npz", label(2, 2))],
        "filters_kept": [matrix("mufin.npz", keep([0, 1], [0, 1])), matrix("ridge.npz", keep([0], [0]))],
        "items_scored": [matrix("mufin.npz", keep([0, 1, 2], [1, 2, 3]))],
        "items_scored_enough": [matrix("mufin.npz", keep([0, 1, 2, 3], [1, 2, 3, 0]))],
        "first_labels_vary": [matrix("mufin.npz", keep([0, 1, 2, 3], [1, 1, 1, 2]))],
    },
    "eval_report": {
        "metrics_in_range": [
            figure("P@1", 1.2),
            figure("nDCG@5", -0.1),
            figure("R@10", NAN),
            figure("R@10", "many"),
            figure("mufin", {"1-2": {"recall_10": 1.5}}, of="buckets"),
            figure("R@10", 3.0, of="zero_shot"),
        ],
        "metrics_there": [lambda data: _json(data / "eval_report/metrics.json", {"popularity": {"P@1": 0.1}})],
        "better_than_popularity": [figure("P@1", 0.05)],
        "no_baseline_clearly_ahead": [interval(-0.2, -0.3, -0.1)],
        "no_baseline_ahead": [interval(-0.2, -0.5, 0.1)],
        "not_far_below_release": [figure("P@1", 0.44)],
        "not_below_release": [figure("R@10", 0.78)],
    },
}
"""Artefact to rule to ways of breaking it."""
