"""TF-IDF vectors of texts, for the text baselines and for the ridge component of the score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def text_features(train: Sequence[str], test: Sequence[str]) -> tuple[Any, Any]:
    """TF-IDF of words (1-2) and of characters within words (2-4), each half of the cosine; (None, None) without text.

    Returns:
        CSR float32 [T, F] and [n_test, F]; rows of unit length, or zero.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union
    from sklearn.preprocessing import normalize

    options: dict[str, Any] = {"sublinear_tf": True, "dtype": np.float32}
    union = make_union(
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", **options),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), **options),
    )
    try:
        features = union.fit_transform(train)
    except ValueError:  # scikit-learn's "empty vocabulary"
        return None, None
    return normalize(features.tocsr()), normalize(union.transform(test).tocsr())
