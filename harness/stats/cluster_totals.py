"""One method's scores on one metric, as totals of clusters; how much each cluster moves their mean."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy
from numpy.typing import NDArray

Array = NDArray[numpy.float64]


@dataclass(frozen=True)
class Scores:
    """One method's totals on one metric.

    totals   (S, C) sum of value * weight over the items of a cluster, one line per seed
    weights  (C,) sum of the weights of the cluster's items, the same at every seed
    kin      methods of one name are built on a common artifact at each seed; "": this method shares none
    collapse why no interval can be about its mean, where its seeds are of two kinds (`harness.stats.collapse`)
    """

    totals: Array
    weights: Array
    kin: str = ""
    collapse: str = ""

    def __post_init__(self) -> None:
        if self.totals.ndim != 2 or self.totals.shape[1:] != self.weights.shape:
            raise ValueError(f"totals {self.totals.shape} do not fit weights {self.weights.shape}")
        if not self.weights.sum() > 0:
            raise ValueError("the weights add up to nothing")

    @property
    def seeds(self) -> int:
        return int(self.totals.shape[0])

    @property
    def clusters(self) -> int:
        return int(self.totals.shape[1])

    @cached_property
    def effective_clusters(self) -> float:
        return effective_number(self.weights)

    @property
    def seed_means(self) -> Array:
        """(S,) the mean at each seed."""
        return numpy.asarray(self.totals.sum(axis=1) / self.weights.sum())

    # cached: every pair, and every step of the search for a ratio's limits, needs the same method again
    @cached_property
    def mean(self) -> float:
        return float(self.totals.sum() / (self.seeds * self.weights.sum()))

    @cached_property
    def varies(self) -> bool:
        """Whether the seed changes anything; an exact comparison, because a repeated run repeats its bytes."""
        return bool(numpy.any(self.totals != self.totals[0]))

    @cached_property
    def seed_mean_squares(self) -> tuple[float, float]:
        """(M, E): between seeds, and seed x cluster; (0, 0) where no seed changes anything."""
        if self.seeds < 2 or not self.varies:
            return 0.0, 0.0
        deviations = linearised(self.totals, self.weights)
        of_seed, of_cluster = deviations.mean(axis=1, keepdims=True), deviations.mean(axis=0, keepdims=True)
        freedom = self.seeds - 1
        between = float(self.clusters * (of_seed**2).sum() / freedom)
        rest = float(((deviations - of_cluster - of_seed) ** 2).sum() / ((self.clusters - 1) * freedom))
        # rounding leaves about 1e-32 where nothing interacts; a ratio to it would be noise
        return between, rest if rest > 1e-20 * float((deviations**2).mean()) else 0.0


def effective_number(weights: Array) -> float:
    """n^2 / sum m_c^2: the number of clusters if all are equal, fewer the more one of them outweighs the others."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def linearised(totals: Array, weights: Array) -> Array:
    """u (S, C): the contribution of each cluster at each seed to the error of the mean; it sums to 0."""
    clusters, count = weights.size, weights.sum()
    average = totals.sum() / (totals.shape[0] * count)
    scaled: Array = (clusters / count) * (totals - weights * average)
    return scaled


def leverage(weights: Array) -> Array:
    """(C,) a_c = (1 - 1/C) / (1 - m_c/n), which makes of u the jackknife over clusters."""
    found: Array = (1 - 1 / weights.size) / (1 - weights / weights.sum())
    return found
