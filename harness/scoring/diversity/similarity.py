"""Texts as unit vectors, and how similar they are.

Means take O(n d) by way of moments; measures that need every pair work in blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from harness.data.words import words_of
from harness.errors import UserError

Vectors = NDArray[numpy.float64]

BLOCK = 2048
"""Rows that are compared with all others at a time; memory is BLOCK x n."""


def unit_vectors(vectors: NDArray[numpy.floating]) -> Vectors:
    """The vectors (n, d) scaled to length one, in double precision. Raises UserError for zero or non-finite ones."""
    double = numpy.asarray(vectors, dtype=numpy.float64)
    lengths = numpy.linalg.norm(double, axis=1)
    bad = numpy.flatnonzero(~numpy.isfinite(lengths) | (lengths == 0))
    if len(bad):
        raise UserError(
            f"{len(bad)} of {len(double)} embeddings are zero or not finite, the first that of text {bad[0] + 1}",
            fix="Use another embedder, or leave empty texts out.",
        )
    found: Vectors = double / lengths[:, None]
    return found


def mean_within(units: Vectors) -> float | None:
    """The mean cosine of all pairs of unit vectors (n, d); None for fewer than two."""
    return Moments.of(units).within()


def share_between_above(one: Vectors, other: Vectors, threshold: float) -> float | None:
    """The share of pairs, one vector of each, with a cosine above the threshold; None where one is empty."""
    if not len(one) or not len(other):
        return None
    above = sum(int((block > threshold).sum()) for _, block in _blocks(one, other))
    return above / (len(one) * len(other))


def random_pairs(groups: Sequence[Vectors], pairs: int, seed: int) -> NDArray[numpy.float64]:
    """Cosines of `pairs` random pairs of vectors of different groups, which hold the answers to one prompt each.

    They show how similar unrelated texts are. Raises UserError for fewer than two groups.
    """
    filled = [group for group in groups if len(group)]
    if len(filled) < 2:
        raise UserError(
            "a random-pair floor needs answers to two prompts or more",
            fix="Raise limit, or name a file of more prompts.",
        )
    chance = numpy.random.default_rng(seed)
    first = chance.integers(len(filled), size=pairs)
    second = (first + chance.integers(1, len(filled), size=pairs)) % len(filled)
    ones, others = (
        numpy.stack([filled[at][chance.integers(len(filled[at]))] for at in chosen]) for chosen in (first, second)
    )
    found: NDArray[numpy.float64] = (ones * others).sum(axis=1)
    return found


def threshold_above(floor: NDArray[numpy.float64], quantile: float = 0.99) -> float:
    """The cosine that one in a hundred pairs of unrelated texts exceeds; it depends on the embedder."""
    return float(numpy.quantile(floor, quantile))


def models_among_nearest(units: Vectors, models: Sequence[int], nearest: int) -> float | None:
    """Number of models among the `nearest` most similar other answers, averaged over the answers to one prompt.

    Ties go to the earliest answer. None for at most `nearest` answers.

    models  number of the model of each vector
    """
    size = len(units)
    if size <= nearest or nearest < 1:
        return None
    names = numpy.asarray(models)
    counts = []
    for start, block in _blocks(units, units):
        rows = numpy.arange(len(block))
        # cosines of equal vectors differ in the last bits between blocks, but must tie
        block = block.round(9)
        block[rows, start + rows] = -numpy.inf
        order = numpy.argsort(-block, axis=1, kind="stable")[:, :nearest]
        counts += [len(set(names[row].tolist())) for row in order]
    return float(numpy.mean(counts))


def _blocks(one: Vectors, other: Vectors) -> Iterator[tuple[int, Vectors]]:
    """(index of the first row, cosines (BLOCK, m)) of each block of `one` with all of `other`."""
    for start in range(0, len(one), BLOCK):
        yield start, one[start : start + BLOCK] @ other.T


@dataclass(frozen=True)
class Moments:
    """Number of vectors (n, d), their mean (d,) and the sum of squared distances from it."""

    count: int
    mean: NDArray[numpy.float64]
    scatter: float

    @classmethod
    def of(cls, units: NDArray[numpy.float64]) -> Moments:
        """The moments of unit vectors (n, d) in double precision, possibly none."""
        if not len(units):
            return cls(0, numpy.zeros(units.shape[1]), 0.0)
        mean = units.mean(axis=0)
        return cls(len(units), mean, float(((units - mean) ** 2).sum()))

    def between(self, other: Moments) -> float | None:
        """The mean cosine of all pairs of vectors from the two sets; None where one is empty."""
        if not self.count or not other.count:
            return None
        apart = float(((self.mean - other.mean) ** 2).sum())
        return 1.0 - (apart + self.scatter / self.count + other.scatter / other.count) / 2

    def within(self) -> float | None:
        """The mean cosine of all pairs; None for fewer than two vectors."""
        return None if self.count < 2 else 1.0 - self.scatter / (self.count - 1)


def vendi_of(units: Vectors) -> float | None:
    """The Vendi score (Friedman and Dieng 2023, arXiv 2210.02410) of unit vectors (n, d) under their cosines.

    The exponential of the entropy of the eigenvalues; None for no vectors. Takes O(n d min(n, d)).
    """
    if not len(units):
        return None
    size, width = units.shape
    # both products have the same positive eigenvalues
    product = units @ units.T if size <= width else units.T @ units
    eigenvalues = numpy.linalg.eigvalsh(product / size)
    shares = eigenvalues[eigenvalues > 1e-12]
    return math.exp(-float((shares * numpy.log(shares)).sum()))


Embed = Callable[[Sequence[str]], Vectors]

PLACES = 4096
NO_WORDS = "\x00"


def embedder(model: str = "", device: str = "cpu") -> Embed:
    """A function from texts to unit vectors (n, d) in double precision: a model by name or folder, else `lexical`."""
    if not model:
        return lexical
    from harness.policy.embeddings import Embedder

    embed = Embedder(model, device)
    return lambda texts: unit_vectors(embed(texts))


def lexical(texts: Sequence[str]) -> Vectors:
    """Word counts, hashed to 4,096 places, as 1 + log of each count; texts without words are alike.

    A text's vector depends on no other text. Paraphrases share few words and so count as different.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    counts = HashingVectorizer(
        analyzer=lambda text: words_of(text) or [NO_WORDS], n_features=PLACES, alternate_sign=False, norm=None
    ).fit_transform(list(texts))
    counts.data = 1 + numpy.log(counts.data)
    return unit_vectors(counts.toarray())
