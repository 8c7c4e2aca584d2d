"""Similarities of unit vectors: means in O(n d) by their moments, and what truly needs pairs in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy
from numpy.typing import NDArray

from harness.diversity.moments import Moments
from harness.errors import UserError

Vectors = NDArray[numpy.float64]

BLOCK = 2048
"""Rows that are compared with all others at once: memory is BLOCK x n."""


def unit(vectors: NDArray[numpy.floating]) -> Vectors:
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
