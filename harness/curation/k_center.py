"""Rows that lie far apart: greedy k-center (Gonzalez 1985) over TF-IDF vectors, or over those of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.data.words import words_of


def k_center(texts: Sequence[str], n: int, seed: int, model: str = "") -> list[int]:
    """Numbers of n texts, in the order chosen: each is the one farthest (by cosine) from all chosen before.

    The seed draws the first; among equally far ones the earliest is chosen. A smaller n is a prefix.
    model  whose embeddings are compared; without one, TF-IDF: lexical, not semantic
    """
    vectors = _embedded(texts, model) if model else _counted(texts)
    nearest = np.full(len(texts), -1.0)
    at = int(np.random.default_rng(seed).integers(len(texts)))
    chosen = []
    for _ in range(min(n, len(texts))):
        chosen.append(at)
        # rounded, so that equal texts are equally far whatever the order of a sum
        similar = np.round((vectors @ vectors[at].T).toarray().ravel(), 12)
        nearest = np.maximum(nearest, similar)
        nearest[at] = np.inf
        at = int(np.argmin(nearest))
    return chosen


def _counted(texts: Sequence[str]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer=_terms, dtype=np.float64).fit_transform(texts).tocsr()


def _embedded(texts: Sequence[str], model: str) -> Any:
    from scipy.sparse import csr_array

    from harness.policy.embeddings import Embedder

    return csr_array(Embedder(model)(texts).astype(np.float64))


def _terms(text: str) -> list[str]:
    # a text without words still needs a place
    return words_of(text) or ["\x00"]
