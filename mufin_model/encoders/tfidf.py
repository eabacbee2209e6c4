"""TF-IDF vectors of texts, for the text baselines and for the ridge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix


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
    return _both(word_vectorizer(), train, test)


def character_features(train: Sequence[str], test: Sequence[str]) -> tuple[Any, Any]:
    """TF-IDF of characters within words (2-4); otherwise as `text_features`."""
    return _both(character_vectorizer(), train, test)


def word_vectorizer() -> Any:
    """Of words (1-2), yet to be fitted."""
    return _vectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")


def character_vectorizer() -> Any:
    """Of characters within words (2-4), yet to be fitted."""
    return _vectorizer(analyzer="char_wb", ngram_range=(2, 4))


def fitted(vectorizer: Any, texts: Sequence[str]) -> Any:
    """The vectorizer, fitted; None where no text has a word."""
    try:
        return vectorizer.fit(texts)
    except ValueError:  # scikit-learn's "empty vocabulary"
        return None


def transformed(vectorizer: Any, texts: Sequence[str]) -> csr_matrix:
    """CSR float32 [n, V], rows of unit length or zero; V is one where there is no vectorizer."""
    if vectorizer is None:
        return csr_matrix((len(texts), 1), dtype=np.float32)
    return csr_matrix(vectorizer.transform(texts))


def told(vectorizer: Any) -> dict[str, Any]:
    """What a fitted vectorizer knows, for JSON."""
    if vectorizer is None:
        return {"terms": [], "idf": []}
    return {"terms": vectorizer.get_feature_names_out().tolist(), "idf": [float(f"{x:.9g}") for x in vectorizer.idf_]}


def restored(vectorizer: Any, told: dict[str, Any]) -> Any:
    """A vectorizer that knows what was told; None where that is nothing."""
    if not told["terms"]:
        return None
    vectorizer.set_params(vocabulary={term: at for at, term in enumerate(told["terms"])})
    vectorizer.idf_ = np.asarray(told["idf"], np.float32)
    return vectorizer


def _both(vectorizer: Any, train: Sequence[str], test: Sequence[str]) -> tuple[Any, Any]:
    if fitted(vectorizer, train) is None:
        return None, None
    return transformed(vectorizer, train), transformed(vectorizer, test)


def _vectorizer(**options: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(sublinear_tf=True, dtype=np.float32, **options)
