"""Texts as unit vectors: by their words alone, or by a sentence-embedding model.

`lexical` counts words (hashed to 4,096 places, 1 + log of each count), so that a text's vector depends on no other
text. It hears no paraphrase: what it calls different may say the same, and the report says lexical beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.data.words import words_of
from harness.scoring.diversity.similarity import Vectors, unit_vectors

Embed = Callable[[Sequence[str]], Vectors]

PLACES = 4096
NO_WORDS = "\x00"


def embedder(model: str = "", device: str = "cpu") -> Embed:
    """What turns texts into unit vectors (n, d) in double precision: a model by name or folder, or `lexical`."""
    if not model:
        return lexical
    from harness.policy.embeddings import Embedder

    embed = Embedder(model, device)
    return lambda texts: unit_vectors(embed(texts))


def lexical(texts: Sequence[str]) -> Vectors:
    """Counts of words on a logarithmic scale, of length one; texts without words are alike."""
    import numpy
    from sklearn.feature_extraction.text import HashingVectorizer

    counts = HashingVectorizer(
        analyzer=lambda text: words_of(text) or [NO_WORDS], n_features=PLACES, alternate_sign=False, norm=None
    ).fit_transform(list(texts))
    counts.data = 1 + numpy.log(counts.data)
    return unit_vectors(counts.toarray())
