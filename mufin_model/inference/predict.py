"""Stage `predict`: scores of the test items. Leaves `predictions`, CSR float32 [n_test, n_seen] each:

mufin.npz             the fused score
reranker.npz, ridge.npz, siamese.npz, classifier.npz, head.npz, neighbours.npz   the components in use, alone
text_only.npz, image_only.npz                 the same model, the other modality of each test item masked
zero_shot.npz         scores over the zero-shot labels by their own descriptors, [n_test, n_zero_shot]
fusion.json           the weights, chosen on the validation items
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import sparse

from mufin_model.artefacts import Workspace, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.catalog.links import contains
from mufin_model.config import Settings
from mufin_model.encoders.sentences import pretrained_sentences
from mufin_model.inference import fusion, zero_shot
from mufin_model.inference.candidates import top_of_rows
from mufin_model.inference.components import Scored, Scorer
from mufin_model.progress import say
from mufin_model.ranking import rounded

BOTH = ("image", "text")


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
    chosen = choose_fusion(scorer, catalog, BOTH)
    say("fusion weights: " + ", ".join(f"{name} {weight:.2f}" for name, weight in chosen.weights.items()))
    test, filters = catalog.rows("test"), catalog.filters("test")
    matrices = {}
    full = scorer(test, ["train", "val"], BOTH)
    top = settings.predict.top_k
    matrices["mufin"] = as_csr(full, chosen(full.components), catalog.n_seen, filters, top)
    for name in sorted(full.components.keys() - {"frequency"}):
        matrices[name] = as_csr(full, full.components[name], catalog.n_seen, filters, top)
    for modality in BOTH:
        # Its own weights: what serves both modalities best need not serve one.
        alone = scorer(test, ["train", "val"], [modality])
        fused = choose_fusion(scorer, catalog, [modality])(alone.components)
        matrices[f"{modality}_only"] = as_csr(alone, fused, catalog.n_seen, filters, top)
    matrices["zero_shot"] = _zero_shot(scorer, catalog, test, top)
    with workspace.write(dataset, "predictions") as folder:
        for name, matrix in matrices.items():
            sparse.save_npz(folder / f"{name}.npz", matrix)
        write_json(folder / "fusion.json", dataclasses.asdict(chosen))
    say(f"scored {len(test):,} test items against {catalog.n_seen:,} labels")


def _zero_shot(scorer: Scorer, catalog: Catalog, items: np.ndarray, top: int) -> sparse.csr_matrix:
    sentences = pretrained_sentences(scorer.encoded) if "text" in scorer.pretrained.modalities else None
    told = None if sentences is None else (sentences[items], sentences[catalog.items.height + catalog.n_seen :])
    return zero_shot.rank(scorer.embed(items, BOTH), scorer.labels[catalog.n_seen :], told, top)


def choose_fusion(scorer: Scorer, catalog: Catalog, modalities: tuple[str, ...] | list[str]) -> fusion.Fusion:
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
