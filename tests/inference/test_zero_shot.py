"""Zero-shot labels, ranked by their own descriptors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from mufin_model.artefacts import read_json, write_json
from mufin_model.catalog.catalog import Catalog
from mufin_model.inference import zero_shot
from mufin_model.inference.candidates import top_of_rows
from mufin_model.retrieval.build_index import unit


@pytest.mark.parametrize("worded", [False, True])
@pytest.mark.parametrize("top", [4, 50])
def test_the_best_are_those_of_all_mean_cosines(worded: bool, top: int) -> None:
    rng = np.random.default_rng(5)
    vectors = {(n, d): unit(rng.standard_normal((n, d)).astype(np.float32)) for n in (7, 30) for d in (8, 5)}
    vectors[30, 5][3] = 0  # a label without a text
    every = vectors[7, 8] @ vectors[30, 8].T
    if worded:
        every = (every + vectors[7, 5] @ vectors[30, 5].T) / 2
    told = (vectors[7, 5], vectors[30, 5]) if worded else None
    found = zero_shot.rank(vectors[7, 8], vectors[30, 8], told, top)
    assert found.shape == every.shape
    np.testing.assert_allclose(found.toarray(), top_of_rows(sparse.csr_matrix(every), top).toarray(), atol=1e-6)


def test_no_zero_shot_labels_no_scores() -> None:
    assert zero_shot.rank(np.eye(7, 8, dtype=np.float32), np.zeros((0, 8), np.float32), None, 4).shape == (7, 0)


def test_only_pretrained_weights_have_a_say(built, tmp_path) -> None:
    catalog = Catalog.load(built.noun("raw_descriptors"))
    encoded, items = built.noun("encoder_embeddings"), catalog.rows("test")[:3]
    assert zero_shot.sentences(catalog, encoded, items) is None
    meta = read_json(encoded / "meta.json")
    meta["random_weights"]["text"] = False
    write_json(tmp_path / "meta.json", meta)
    texts = np.load(encoded / "text.npy")
    np.save(tmp_path / "text.npy", texts)
    of_items, of_labels = zero_shot.sentences(catalog, tmp_path, items)
    np.testing.assert_array_equal(of_items, texts[items])
    np.testing.assert_array_equal(of_labels, texts[len(texts) - (catalog.n_labels - catalog.n_seen) :])
