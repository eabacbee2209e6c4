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
    from scipy.sparse import hstack
    from sklearn.preprocessing import normalize

    both = [fit(train, test) for fit in (word_features, character_features)]
    if any(known is None for known, _ in both):
        return None, None
    known, asked = (normalize(hstack(parts, format="csr")) for parts in zip(*both, strict=True))
    return known, asked


def word_features(train: Sequence[str], test: Sequence[str]) -> tuple[Any, Any]:
    """TF-IDF of words (1-2); otherwise as `text_features`."""
    return _fit(train, test, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")


def character_features(train: Sequence[str], test: Sequence[str]) -> tuple[Any, Any]:
    """TF-IDF of characters within words (2-4); otherwise as `text_features`."""
    return _fit(train, test, analyzer="char_wb", ngram_range=(2, 4))


def _fit(train: Sequence[str], test: Sequence[str], **options: Any) -> tuple[Any, Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, dtype=np.float32, **options)
    try:
        known = vectorizer.fit_transform(train)
    except ValueError:  # scikit-learn's "empty vocabulary"
        return None, None
    return known.tocsr(), vectorizer.transform(test).tocsr()
