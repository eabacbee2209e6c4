"""The test items on which a challenger and the current release are held against each other, and what both say of them.

Only the gate's own test items decide (`catalog/gate_items.py`); the card reports the others.
*The same test set* (ids, texts and numbers of pictures are equal): what each release stored of it is compared.
*Another test set*: the champion scores the new one (at most `release.rescore_items`, drawn at random), by its own
encoder, from texts and pictures; but for items that it was trained on, whose labels it knows by heart.
*Where it cannot* (its folder does not load here, its pictures are vectors that a catalogue brought, or it was trained
on nearly all of them): the items that both test sets hold are compared by what was stored, where they are
`release.least_items` at least.
*Else* nothing can be said, and the challenger is refused: `-S release.gate=false` puts it in front.

Labels are matched by their ids. A label that is gone today keeps its place in the champion's ranking, as a wrong
answer, for that is what it serves; a new label can only be the challenger's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix, load_npz, vstack

from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.gate_items import gate_items
from mufin_model.config import Release
from mufin_model.errors import ArtefactError, MufinError, in_words
from mufin_model.evaluation.buckets import Bucket, buckets
from mufin_model.evaluation.metrics import without
from mufin_model.release.model import Model
from mufin_model.release.package import DEPTH, SCORES
from mufin_model.release.queries import Query

SAME, RESCORED, COMMON, NONE = "same test set", "champion re-scored", "items in common", "no comparison"


@dataclass(frozen=True)
class Ground:
    """What a comparison is over: scores of both [n, L'], truth [n, L'], the buckets of L' labels, and how it came."""

    ours: csr_matrix
    theirs: csr_matrix
    truth: csr_matrix
    groups: list[Bucket]
    how: str
    note: str = ""


def ground(
    challenger: Path, champion: Path, today: Catalog, settings: Release, seed: int, share: float = 1.0
) -> Ground | None:
    """Both releases on the same test items; None where nothing can be compared.

    Args:
        challenger: its packed folder.
        champion: the current release's folder.
        today: the catalogue that the challenger was made of, with its images.
        settings: the release's.
        seed: of the draw where the test items are too many to score again.
        share: of the test items by which the gate decides.
    """
    before = Catalog.load(champion / "raw_descriptors")
    test = today.rows("test")
    ours = stored(challenger, today)
    decides = gate_items(today, share)
    if not decides.any() or ours is None:
        return None
    note = ""
    if fingerprint(today) == fingerprint(before) and (kept := stored(champion, before)) is not None:
        rows = np.flatnonzero(decides)
        theirs, how = kept[_places(before, today)[rows]], SAME
    else:
        try:
            unseen = _unseen(before, today, decides, settings.least_items)
            rows, how = _drawn(unseen, settings.rescore_items, seed), RESCORED
            theirs = _rescore(champion, today, test[rows])
            if left_out := int(decides.sum()) - len(unseen):
                note = f"{left_out} test items that the current release was trained on are left out"
        except (MufinError, RuntimeError, ValueError, KeyError, TypeError, OSError) as error:
            places = _places(before, today)
            rows, kept = np.flatnonzero((places >= 0) & decides), stored(champion, before)
            if kept is None or len(rows) < settings.least_items:
                return None
            theirs, how = kept[places[rows]], COMMON
            note = f"the current release cannot score the new test set: {error}"
    filters = today.filters("test")
    truth = without(today.links("test"), filters)
    counts = today.label_counts() + np.bincount(today.links("val").indices, minlength=today.n_seen)
    width, theirs = renamed(theirs, before, today)
    wide = [_wider(matrix, width) for matrix in (ours, truth, filters)]
    groups = [
        Bucket(group.name, np.pad(group.labels, (0, width - today.n_seen)), group.links)
        for group in buckets(counts, truth)
    ]
    return Ground(wide[0][rows], without(theirs, wide[2][rows]), wide[1][rows], groups, how, note)


def fingerprint(catalog: Catalog) -> str:
    """A hash of the test items: ids, texts and how many pictures each has, whatever their order."""
    test = catalog.items.filter(pl.col("split") == "test").sort("id")
    told = test.select("id", "text", pl.col("images").list.len()).write_json()
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def queries(catalog: Catalog, rows: np.ndarray, pictures: bool = True) -> list[Query]:
    """Items of a catalogue as anyone would ask about them."""
    offsets, images = catalog.item_images()
    texts = catalog.items["text"]
    return [
        Query(texts[int(row)], list(catalog.images.pixels(images[offsets[row] : offsets[row + 1]])) if pictures else ())
        for row in rows
    ]


def stored(folder: Path, catalog: Catalog) -> csr_matrix | None:
    """What a release stored of its test items; None for one from before they were stored."""
    if not (folder / SCORES).is_file():
        return None
    try:
        matrix = csr_matrix(load_npz(folder / SCORES))
    except (OSError, ValueError, KeyError) as error:
        raise ArtefactError(
            f"cannot read scores: {in_words(error)}", where=str(folder / SCORES), mend="mufin release"
        ) from error
    return matrix if matrix.shape == (len(catalog.rows("test")), catalog.n_seen) else None


def _places(before: Catalog, today: Catalog) -> np.ndarray:
    """Of each of today's test items, its place among the earlier ones; -1 where it is new."""
    place = {id_: place for place, id_ in enumerate(before.items["id"].gather(before.rows("test")))}
    return np.array([place.get(id_, -1) for id_ in today.items["id"].gather(today.rows("test"))], np.int64)


def _unseen(before: Catalog, today: Catalog, decides: np.ndarray, least: int) -> np.ndarray:
    """Places of the test items that decide today and were not labelled items before.

    Raises:
        ArtefactError: some were, and fewer than `least` were not.
    """
    labelled = before.items.filter(pl.col("split").is_in(["train", "val"]))["id"]
    fresh = (~today.items["id"].gather(today.rows("test")).is_in(labelled.implode())).to_numpy()
    places, asked = np.flatnonzero(fresh & decides), int(decides.sum())
    if len(places) < min(least, asked):
        raise ArtefactError(f"it was trained on all but {len(places)} of {asked} test items", where="test")
    return places


def _drawn(places: np.ndarray, most: int, seed: int) -> np.ndarray:
    """All places, or `most` of them at random, ascending."""
    return places if len(places) <= most else np.sort(np.random.default_rng(seed).choice(places, most, replace=False))


def _rescore(champion: Path, today: Catalog, test: np.ndarray) -> csr_matrix:
    model = Model(champion)
    sees = model.encoder.sees_pictures
    if not sees and len(today.images) and "image" in model.scorer.pretrained.modalities:
        raise ArtefactError("it can see no picture", where=str(champion))
    if sees and len(today.images) and today.images.size != model.encoder.size:
        raise ArtefactError(
            f"it sees pictures of {model.encoder.size} pixels, today's have {today.images.size}", where=str(champion)
        )
    parts = [model.scores(queries(today, rows), 2 * DEPTH) for rows in np.array_split(test, -(-len(test) // 512))]
    return vstack(parts, format="csr")


def renamed(theirs: csr_matrix, before: Catalog, today: Catalog) -> tuple[int, csr_matrix]:
    """The champion's scores with today's label rows; labels that are gone have columns after all others."""
    known = {id_: row for row, id_ in enumerate(today.labels["id"].head(today.n_seen))}
    ids = before.labels["id"].head(before.n_seen).to_list()
    gone = [id_ for id_ in ids if id_ not in known]
    known |= {id_: today.n_seen + place for place, id_ in enumerate(gone)}
    width = today.n_seen + len(gone)
    columns = np.array([known[id_] for id_ in ids], np.int64)
    return width, csr_matrix((theirs.data, columns[theirs.indices], theirs.indptr), shape=(theirs.shape[0], width))


def _wider(matrix: csr_matrix, width: int) -> csr_matrix:
    return csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], width))
