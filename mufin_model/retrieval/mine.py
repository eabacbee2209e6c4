"""Stage `mine`, Module II: a shortlist of labels for each training item. Leaves `mined_negatives`.

labels.npy     int32 [n_train, S], best first, -1 where padded or a filter pair; S is `mine.shortlist`, and as many head
               labels where these have an index of their own
scores.npy     float16 [n_train, S], cosine
positive.npy   bool [n_train, S], True where relevant
"""

from __future__ import annotations

import numpy as np

from mufin_model.arrays import read_array
from mufin_model.artefacts import Workspace, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.links import contains
from mufin_model.config import Settings
from mufin_model.progress import say, track
from mufin_model.retrieval.label_index import LabelIndex

BATCH = 4096


def run(workspace: Workspace, dataset: str, settings: Settings) -> None:
    """Mine the shortlists of one dataset.

    Raises:
        ArtefactError: an earlier artefact is missing.
    """
    catalog = Catalog.load(workspace.read(dataset, "raw_descriptors"))
    vectors = workspace.read(dataset, "pretrained_model") / "item_embeddings.npy"
    items = read_array(vectors, shape=(catalog.items.height, None))[catalog.rows("train")]
    index = LabelIndex.load(workspace.read(dataset, "anns_index"))
    size = index.width(settings.mine.shortlist)
    labels = np.full((len(items), size), -1, np.int32)
    scores = np.zeros((len(items), size), np.float16)
    for at in track(range(0, len(items), BATCH), "mine shortlists"):
        some = items[at : at + BATCH]
        scores[at : at + BATCH], labels[at : at + BATCH] = index.search(some, settings.mine.shortlist)
    truth = catalog.links("train")
    positive = contains(truth, labels)
    # What is taken out of predictions is no negative either: often the label is the item itself.
    labels[contains(catalog.filters("train"), labels) & ~positive] = -1
    found = float(positive.sum() / max(1, truth.nnz))
    with workspace.write(dataset, "mined_negatives") as folder:
        np.save(folder / "labels.npy", labels)
        np.save(folder / "scores.npy", scores)
        np.save(folder / "positive.npy", positive)
        write_json(folder / "summary.json", {"items": len(items), "shortlist": size, "positives_found": found})
    say(f"mined shortlists of {size} labels for {len(items):,} items; they hold {found:.1%} of the positives")
