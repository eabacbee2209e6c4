"""Stage `predict`: scores of the test items. Leaves `predictions`, CSR float32 [n_test, n_seen] each:

mufin.npz             the fused score
reranker.npz, ridge.npz, siamese.npz, classifier.npz, head.npz, neighbours.npz   the components in use, alone
text_only.npz, image_only.npz                 the same model, the other modality of each test item masked
zero_shot.npz         scores over the zero-shot labels by their own descriptors, [n_test, n_zero_shot]
fusion.json           the weights of each view, chosen on the validation items (views.py)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import sparse

from mufin_model.artefacts import Workspace
from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.links import contains
from mufin_model.config import Settings
from mufin_model.encoders.sentences import pretrained_sentences
from mufin_model.inference import fusion, views, zero_shot
from mufin_model.inference.candidates import top_of_rows
from mufin_model.inference.components import Scored, Scorer
from mufin_model.network import store
from mufin_model.progress import say
from mufin_model.ranking import rounded
from mufin_model.ridge.views import Seen
from mufin_model.ridge.views import views as ridge_views

BOTH = ("image", "text")
MEMORY = ("train", "val")
"""Splits whose items are looked up for test items."""


def run(workspace: Workspace, dataset: str, settings: Settings) -> None:
    """Score the test items of one dataset.

    Raises:
        ArtefactError: an earlier artefact is missing.
    """
    catalog = Catalog.load(workspace.read(dataset, "raw_descriptors"))
    scorer = Scorer(
        catalog,
        workspace.read(dataset, "encoder_embeddings"),
        workspace.read(dataset, "pretrained_model"),
        workspace.read(dataset, "anns_index"),
        workspace.read(dataset, "finetuned_classifiers"),
        settings.predict,
    )
    test, filters = catalog.rows("test"), catalog.filters("test")
    full = scorer(test, MEMORY, BOTH)
    top = settings.predict.top_k
    fusions = {seen: choose_fusion(scorer, catalog, seen) for seen in ridge_views(scorer.pretrained.modalities)}
    for seen, chosen in fusions.items():
        told = ", ".join(f"{name} {weight:.2f}" for name, weight in chosen.weights.items())
        say(f"fusion weights by {' and '.join(seen)}: {told}")
    matrices = {"mufin": fused(scorer, catalog, test, fusions, top)}
    for name in sorted(full.components.keys() - {"frequency"}):
        matrices[name] = as_csr(full, full.components[name], catalog.n_seen, filters, top)
    for modality in BOTH:
        alone = scorer(test, MEMORY, [modality])
        chosen = fusions.get((modality,)) or choose_fusion(scorer, catalog, [modality])
        matrices[f"{modality}_only"] = as_csr(alone, chosen(alone.components), catalog.n_seen, filters, top)
    matrices["zero_shot"] = _zero_shot(scorer, catalog, test, top)
    with workspace.write(dataset, "predictions") as folder:
        for name, matrix in matrices.items():
            sparse.save_npz(folder / f"{name}.npz", matrix)
        views.write(folder / "fusion.json", fusions)
    say(f"scored {len(test):,} test items against {catalog.n_seen:,} labels")


def fused(
    scorer: Scorer, catalog: Catalog, items: np.ndarray, fusions: Mapping[Seen, fusion.Fusion], top: int
) -> sparse.csr_matrix:
    """The fused scores of test items [n], each by the view of what it shows: CSR float32 [n, n_seen]."""
    known, filters = list(fusions), catalog.filters("test")
    has_text = np.array([bool(text) for text in catalog.items["text"].gather(items)], bool)
    offsets, _ = catalog.item_images()
    of = views.of_items(has_text, np.diff(offsets)[items] > 0, known)
    parts, order = [sparse.csr_matrix((0, catalog.n_seen), dtype=np.float32)], [np.zeros(0, np.int64)]
    for number, seen in enumerate(known):
        rows = np.flatnonzero(of == number)
        if len(rows):
            scored = scorer(items[rows], MEMORY, seen)
            parts.append(as_csr(scored, fusions[seen](scored.components), catalog.n_seen, filters[rows], top))
            order.append(rows)
    return sparse.csr_matrix(sparse.vstack(parts, format="csr")[np.argsort(np.concatenate(order))])


def _zero_shot(scorer: Scorer, catalog: Catalog, items: np.ndarray, top: int) -> sparse.csr_matrix:
    sentences = served_sentences(scorer.encoded, scorer.pretrained)
    told = None if sentences is None else (sentences[items], sentences[catalog.items.height + catalog.n_seen :])
    return zero_shot.rank(scorer.embed(items, BOTH), scorer.labels[catalog.n_seen :], told, top)


def served_sentences(encoded: Path, pretrained: store.Pretrained) -> np.ndarray | None:
    """Text embeddings by pretrained weights, where serving has them too: the weights stayed as they came."""
    if "text" not in pretrained.modalities or pretrained.tuned["text"]:
        return None
    return pretrained_sentences(encoded)


def choose_fusion(scorer: Scorer, catalog: Catalog, modalities: Sequence[str]) -> fusion.Fusion:
    """Fusion weights by the validation items, their neighbours looked up among the training items."""
    scored = scorer(catalog.rows("val"), ["train"], modalities)
    real = scored.real & ~contains(catalog.filters("val"), scored.candidates)
    # Of a label whose items are all held out no part knows anything yet; of test items they will.
    real &= catalog.label_counts()[scored.candidates.clip(min=0)] > 0
    return fusion.choose(scored.components, real, contains(catalog.links("val"), scored.candidates))


def as_csr(
    scored: Scored, scores: np.ndarray, n_labels: int, filters: sparse.csr_matrix, top: int
) -> sparse.csr_matrix:
    """The best `top` candidates of each item, filter pairs removed; scores to the decimals that count."""
    keep = scored.real & ~contains(filters, scored.candidates)
    rows, _ = np.nonzero(keep)
    matrix = sparse.csr_matrix((rounded(scores[keep]), (rows, scored.candidates[keep])), shape=(len(scores), n_labels))
    return top_of_rows(matrix, top)
