"""Similarities of unit vectors: means in O(n d) by their moments, and what truly needs pairs in blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from harness.errors import UserError

Vectors = NDArray[numpy.float64]

BLOCK = 2048
"""Rows that are compared with all others at once: memory is BLOCK x n."""


def unit_vectors(vectors: NDArray[numpy.floating]) -> Vectors:
    """Vectors (n, d) of length one, in double precision. Raises UserError for one that is zero or no number."""
    double = numpy.asarray(vectors, dtype=numpy.float64)
    lengths = numpy.linalg.norm(double, axis=1)
    bad = numpy.flatnonzero(~numpy.isfinite(lengths) | (lengths == 0))
    if len(bad):
        raise UserError(
            f"{len(bad)} of {len(double)} embeddings are zero or no numbers, the first that of text {bad[0] + 1}",
            fix="Use another embedder, or leave empty texts out.",
        )
    found: Vectors = double / lengths[:, None]
    return found


def mean_within(units: Vectors) -> float | None:
    """The mean cosine of all pairs of unit vectors (n, d); None for fewer than two."""
    return Moments.of(units).within()


def mean_distance_within(units: Vectors) -> float | None:
    """The mean of 1 - cos over all pairs of unit vectors (n, d); None for fewer than two."""
    return Moments.of(units).distance_within()


def mean_between(one: Vectors, other: Vectors) -> float | None:
    """The mean cosine of every vector of one set with every vector of the other; None where one is empty."""
    return Moments.of(one).between(Moments.of(other))


def mean_same_index(one: Vectors, other: Vectors) -> float | None:
    """The mean cosine of the i-th vector of the one with the i-th of the other: 1 where noise is shared."""
    if not len(one) or len(one) != len(other):
        return None
    return float((one * other).sum() / len(one))


def share_above(units: Vectors, threshold: float) -> float | None:
    """The share of pairs of unit vectors whose cosine lies above the threshold; None for fewer than two."""
    size = len(units)
    if size < 2:
        return None
    above = 0
    for start, block in _blocks(units, units):
        rows = numpy.arange(start, start + len(block))
        above += int((block > threshold)[numpy.arange(size)[None, :] > rows[:, None]].sum())
    return above / (size * (size - 1) / 2)


def share_between_above(one: Vectors, other: Vectors, threshold: float) -> float | None:
    """The share of pairs, a vector of each, whose cosine lies above the threshold; None where one is empty."""
    if not len(one) or not len(other):
        return None
    above = sum(int((block > threshold).sum()) for _, block in _blocks(one, other))
    return above / (len(one) * len(other))


def random_pairs(groups: Sequence[Vectors], pairs: int, seed: int) -> NDArray[numpy.float64]:
    """Cosines of `pairs` random pairs of vectors of different groups: how alike unrelated texts are.

    A group's answers are to one prompt. Raises UserError where there are fewer than two groups.
    """
    filled = [group for group in groups if len(group)]
    if len(filled) < 2:
        raise UserError("a random-pair floor needs answers to two prompts or more", fix="Ask more prompts.")
    chance = numpy.random.default_rng(seed)
    first = chance.integers(len(filled), size=pairs)
    second = (first + chance.integers(1, len(filled), size=pairs)) % len(filled)
    ones, others = (
        numpy.stack([filled[at][chance.integers(len(filled[at]))] for at in chosen]) for chosen in (first, second)
    )
    found: NDArray[numpy.float64] = (ones * others).sum(axis=1)
    return found


def threshold_above(floor: NDArray[numpy.float64], quantile: float = 0.99) -> float:
    """The cosine that unrelated texts exceed in one of a hundred pairs: each embedder has its own."""
    return float(numpy.quantile(floor, quantile))


def models_among_nearest(units: Vectors, models: Sequence[int], nearest: int) -> float | None:
    """Of how many models the `nearest` most similar other answers are, on average over the answers to one prompt.

    models  the number of the model of each vector. None where there are no more than `nearest` answers.
    Of equally similar answers the earlier counts.
    """
    size = len(units)
    if size <= nearest or nearest < 1:
        return None
    names = numpy.asarray(models)
    counts = []
    for start, block in _blocks(units, units):
        rows = numpy.arange(len(block))
        # equal vectors differ in their last bits with their place in a block: they are to tie
        block = block.round(9)
        block[rows, start + rows] = -numpy.inf
        order = numpy.argsort(-block, axis=1, kind="stable")[:, :nearest]
        counts += [len(set(names[row].tolist())) for row in order]
    return float(numpy.mean(counts))


def _blocks(one: Vectors, other: Vectors) -> Iterator[tuple[int, Vectors]]:
    """(first row, cosines (BLOCK, m)) of the one with all of the other."""
    for start in range(0, len(one), BLOCK):
        yield start, one[start : start + BLOCK] @ other.T


@dataclass(frozen=True)
class Moments:
    """Of vectors (n, d): their number, their mean (d,) and the sum of their squared distances from it."""

    count: int
    mean: NDArray[numpy.float64]
    scatter: float

    @classmethod
    def of(cls, units: NDArray[numpy.float64]) -> Moments:
        """Of unit vectors (n, d) in double precision, also of none."""
        if not len(units):
            return cls(0, numpy.zeros(units.shape[1]), 0.0)
        mean = units.mean(axis=0)
        return cls(len(units), mean, float(((units - mean) ** 2).sum()))

    def __add__(self, other: Moments) -> Moments:
        """Of both sets as one."""
        if not self.count or not other.count:
            return self if self.count else other
        count, apart = self.count + other.count, other.mean - self.mean
        weight = other.count / count
        scatter = self.scatter + other.scatter + float(apart @ apart) * self.count * weight
        return Moments(count, self.mean + weight * apart, scatter)

    def distance_within(self) -> float | None:
        """The mean of 1 - cos over all pairs; None for fewer than two vectors."""
        return None if self.count < 2 else self.scatter / (self.count - 1)

    def between(self, other: Moments) -> float | None:
        """The mean cosine of every vector of the one set with every vector of the other; None where one is empty."""
        if not self.count or not other.count:
            return None
        apart = float(((self.mean - other.mean) ** 2).sum())
        return 1.0 - (apart + self.scatter / self.count + other.scatter / other.count) / 2

    def within(self) -> float | None:
        """The mean cosine of all pairs; None for fewer than two vectors."""
        distance = self.distance_within()
        return None if distance is None else 1.0 - distance


def vendi(kernel: NDArray[numpy.float64], order: float = 1.0) -> float:
    """The score of a similarity matrix (n, n), symmetric with ones on its diagonal."""
    return _effective(numpy.linalg.eigvalsh(kernel / len(kernel)), order)


def vendi_of(units: Vectors, order: float = 1.0) -> float | None:
    """The score of unit vectors (n, d) under their cosines; None for none. O(n d min(n, d))."""
    if not len(units):
        return None
    size, width = units.shape
    # both products have the same positive eigenvalues
    product = units @ units.T if size <= width else units.T @ units
    return _effective(numpy.linalg.eigvalsh(product / size), order)


def _effective(eigenvalues: NDArray[numpy.floating[Any]], order: float) -> float:
    shares = eigenvalues[eigenvalues > 1e-12]
    if order == 1:
        return math.exp(-float((shares * numpy.log(shares)).sum()))
    if math.isinf(order):
        return 1 / float(shares.max())
    return math.exp(math.log(float((shares**order).sum())) / (1 - order))


def distinct_ngrams(texts: Sequence[str], n: int) -> float | None:
    """Different n-grams of white-space words as a share of all in the texts; None where no text has n words."""
    grams = [tuple(words[at : at + n]) for words in map(str.split, texts) for at in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None


def self_bleu(texts: Sequence[str]) -> float | None:
    """The mean sentence BLEU (0 to 1) of each text against all others (Zhu et al. 2018, 1802.01886); None below two.

    By sacrebleu, with exponential smoothing and its own tokenizer. A text without words counts as 0.
    """
    if len(texts) < 2:
        return None
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU(effective_order=True)
    scores = [bleu.sentence_score(text, [*texts[:at], *texts[at + 1 :]]).score for at, text in enumerate(texts)]
    return sum(scores) / len(scores) / 100
