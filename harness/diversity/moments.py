"""What mean similarities need to know of a set of unit vectors, in one pass and O(n d): no vector has to be kept.

    count n, mean m, scatter  s = sum |u_i - m|^2
    within one set   mean of 1 - cos(u_i, u_j) over i < j   =   s / (n - 1)
    between two      mean of 1 - cos(a_i, b_j)               =   (|m_a - m_b|^2 + s_a / n_a + s_b / n_b) / 2
    two as one       s = s_a + s_b + |m_a - m_b|^2 n_a n_b / (n_a + n_b)      (Chan, Golub and LeVeque 1983)

Distances are summed around the mean, in double precision, so that a collapsed set (1 - cos of 1e-8) keeps its
digits, where a sum of cosines would round them away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy
from numpy.typing import NDArray


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
