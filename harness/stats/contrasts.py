"""Paired statistics over items and seeds: one formula for means, differences and other contrasts.

Items that share a source form a cluster; a metric is sum(value * weight) / sum(weight). With C clusters, S
seeds, n the sum of weights, T_sc a cluster's total and u_sc = (C / n)(T_sc - m_c * mean), the variance of a
contrast over methods j with coefficients k_j crosses clusters and seeds:

    MS_I = S * sum_c mean_s(u_sc)^2 / (C - 1)              of the contrast's own totals
    M_j  = C * sum_s mean_c(u_sc)^2 / (S - 1)              of each method alone
    E_j  = sum_sc (residual of u)^2 / ((C - 1)(S - 1))     of each method alone
    E = sum k_j^2 E_j,   W = sum k_j^2 M_j  (own)  or  W = mean_k(M_k / E_k) * E  (pooled over the methods)
    V = (MS_I + max(W - E, 0)) / (C * S)

    nu = (C S V)^2 / (MS_I^2 / (C - 1) + W^2 / nu_W + E^2 / ((C - 1)(S - 1))), at least 1;  C - 1 where W <= E
    interval: contrast +- t(0.975, nu) sqrt(V);   p = 2 P(t_nu > |contrast| / sqrt(V))

nu_W is (S - 1) W^2 / sum (k_j^2 M_j)^2 for the own half and sum (S_k - 1) for the pooled half. Both halves are
computed; the wider interval and the larger p are reported, because each half alone lets the family-wise error of
Holm's procedure rise to 16-19 % where methods differ in seed variance.

Source: crossed random effects (items x seeds) with the degrees of freedom of Satterthwaite (Biometrics Bulletin 2,
1946) and Welch (Biometrika 34, 1947); items clustered by source as in Miller (arXiv 2411.00640). Taking the larger p
of the two halves is this project's own choice, from the simulation study in docs/statistics.md, sections 16 and 17.

Assumptions: clusters and seeds are random samples, independent of each other; seeds of different methods are
independent; all methods of a contrast share seeds, clusters and weights. Known limits (docs/statistics.md, section
18): fewer than 20 clusters reject too often, so no claims are made; with one seed the statement covers these trained
runs only; a shared order of the data between methods makes the intervals too wide.
Nothing here knows about files or reports; families of tests are in `harness.stats.families`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy
from numpy.typing import NDArray

CONFIDENCE = 0.95
FEWEST_CLUSTERS = 20  # below it p-values reject up to 14 times too often (five clusters): no claims
MEASURABLE_POWER = 0.80

Array = NDArray[numpy.float64]


@dataclass(frozen=True)
class Scores:
    """One method's totals on one metric.

    totals   (S, C) sum of value * weight over the items of a cluster, one line per seed
    weights  (C,) sum of the weights of the cluster's items, the same at every seed
    """

    totals: Array
    weights: Array

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
        deviations = _deviations(self.totals, self.weights)
        of_seed, of_cluster = deviations.mean(axis=1, keepdims=True), deviations.mean(axis=0, keepdims=True)
        freedom = self.seeds - 1
        between = float(self.clusters * (of_seed**2).sum() / freedom)
        rest = float(((deviations - of_cluster - of_seed) ** 2).sum() / ((self.clusters - 1) * freedom))
        # rounding leaves about 1e-32 where nothing interacts; a ratio to it would be noise
        return between, rest if rest > 1e-20 * float((deviations**2).mean()) else 0.0


@dataclass(frozen=True)
class Scale:
    """The range of one item's score, which sets the floor of MS_I where the items show too little variance.

    binary  the scores are 0 or 1: MS_I is never below 3 S (C unit / n)^2 / (C - 1), three discordant items
    unit    the range of the scores; the floor applies to other scores only where they show no variance at all
    """

    binary: bool = True
    unit: float = 1.0


BINARY = Scale()


@dataclass(frozen=True)
class SeedPool:
    """Seed variance shared by methods: the mean of M_k / E_k and its degrees of freedom, sum of (S_k - 1)."""

    ratio: float
    degrees: float


@dataclass(frozen=True)
class Components:
    """Variance components of a contrast, in squared metric units: items, seeds and their interaction."""

    items: float
    seeds: float
    interaction: float

    def shares(self, clusters: int, seeds: int) -> tuple[float, float, float]:
        """The shares of items, seeds and interaction in the variance of the mean; they add up to 1."""
        parts = (self.items / clusters, self.seeds / seeds, self.interaction / (clusters * seeds))
        total = sum(parts)
        return (parts[0] / total, parts[1] / total, parts[2] / total) if total > 0 else (1.0, 0.0, 0.0)


@dataclass(frozen=True)
class Spread:
    """One half's result: the standard error sqrt(V), its degrees of freedom nu, and MS_I, W and E."""

    error: float
    degrees: float
    items: float
    seeds: float
    interaction: float


@dataclass(frozen=True)
class Estimate:
    """A contrast with its pointwise interval; `low`, `high` and `p` are None where `reason` says why.

    value       in the metric's units (None where not even the value can be computed)
    p           two-sided, against 0
    items_only  one seed: a statement about these trained runs, not about the methods
    spreads     the own half and, where there is one, the pooled half
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    clusters: int = 0
    seeds: int = 0
    items_only: bool = False
    stochastic: int = 0
    reason: str = ""
    spreads: tuple[Spread, ...] = ()

    @property
    def few_clusters(self) -> bool:
        """Too few clusters for a claim; the interval is shown and flagged."""
        return self.low is not None and self.clusters < FEWEST_CLUSTERS

    @property
    def components(self) -> Components | None:
        """Variance components of the half that was reported; None without an interval, and of a sum of contrasts."""
        if not self.spreads:
            return None
        spread = max(self.spreads, key=_half_width)
        if not spread.items > 0:
            return None
        return Components(
            items=max(spread.items - spread.interaction, 0.0) / self.seeds,
            seeds=max(spread.seeds - spread.interaction, 0.0) / self.clusters,
            interaction=spread.interaction,
        )

    def p_above(self, bound: float) -> float | None:
        """One-sided p of 'the contrast is not above `bound`': the test behind non-inferiority."""
        if self.value is None or not self.spreads:
            return None
        return max(_upper_tail((self.value - bound) / spread.error, spread.degrees) for spread in self.spreads)


def mean(scores: Scores, pool: SeedPool | None = None, scale: Scale = BINARY) -> Estimate:
    """One method's score with its interval, in the metric's units; its `p` (against 0) has no use."""
    return contrast((scores,), (1.0,), pool, scale)


def difference(first: Scores, second: Scores, pool: SeedPool | None = None, scale: Scale = BINARY) -> Estimate:
    """first - second, paired over clusters and seeds, in the metric's units."""
    return contrast((first, second), (1.0, -1.0), pool, scale)


def contrast(
    parts: Sequence[Scores], coefficients: Sequence[float], pool: SeedPool | None = None, scale: Scale = BINARY
) -> Estimate:
    """sum of coefficient * mean over methods that share seeds, clusters and weights.

    Raises ValueError where they do not share them. The interval is blank with one cluster, and where no
    score differs from any other. A method whose scores are the same at every seed has no seed variance.
    """
    _check_shared(parts, coefficients)
    clusters, seeds = parts[0].clusters, parts[0].seeds
    value = sum(k * part.mean for k, part in zip(coefficients, parts, strict=True))
    if clusters < 2:
        return Estimate(value, clusters=clusters, seeds=seeds, reason="one cluster: its variance is unknown")
    items = _item_mean_square(parts, coefficients, scale)
    if not items > 0:
        return Estimate(value, clusters=clusters, seeds=seeds, reason="no score differs from any other")
    stochastic = sum(1 for part in parts if part.varies)
    spreads = _spreads(parts, coefficients, items, pool)
    return of_spreads(value, spreads, clusters, seeds, items_only=seeds == 1, stochastic=stochastic)


def of_spreads(
    value: float, spreads: tuple[Spread, ...], clusters: int, seeds: int, *, items_only: bool, stochastic: int
) -> Estimate:
    """The reported estimate: the wider interval and the larger p of the halves."""
    half_width = max(_half_width(spread) for spread in spreads)
    p = 1.0 if value == 0 else max(2 * _upper_tail(abs(value) / s.error, s.degrees) for s in spreads)
    return Estimate(
        value=value,
        low=value - half_width,
        high=value + half_width,
        p=min(p, 1.0),
        clusters=clusters,
        seeds=seeds,
        items_only=items_only,
        stochastic=stochastic,
        spreads=spreads,
    )


def seed_pool(methods: Sequence[Scores]) -> SeedPool | None:
    """Pool the seed variance of methods on one metric: the mean of M_k / E_k, and sum of (S_k - 1) degrees.

    None with fewer than two methods whose interaction E_k is above 0. It assumes that the methods have the same ratio
    of seed variance to interaction; the own half does not.
    """
    ratios, degrees = [], 0
    for scores in methods:
        between, interaction = scores.seed_mean_squares if scores.clusters > 1 else (0.0, 0.0)
        if interaction > 0:
            ratios.append(between / interaction)
            degrees += scores.seeds - 1
    return SeedPool(float(numpy.mean(ratios)), degrees) if len(ratios) > 1 else None


def minimum_detectable_effect(
    components: Components, clusters: int, seeds: int, stochastic: int, comparisons: int = 1
) -> float:
    """The true difference that a test at these numbers finds with 80 % power, in the metric's units.

        f (t(1 - 0.025 / comparisons, nu) + t(0.80, nu)) sqrt(V),   f = 1.15 below five seeds, otherwise 1

    with V and nu as above for mean squares expected from the components, and W - E at least 0.3 E.

    stochastic   how many methods of the pair vary with the seed; 0 also for one seed, items only
    comparisons  the size of the Holm family (its first step is used; not validated by simulation)
    Known limits: simulated power was 76-88 % where methods have similar seed variances and 41-80 % where these
    differ fivefold; the components of a real pilot are themselves uncertain. Source: docs/statistics.md, section 11.
    """
    items = components.interaction + seeds * components.items
    between = components.interaction + clusters * components.seeds
    variance = (items + max(between - components.interaction, 0.3 * components.interaction)) / (clusters * seeds)
    spread = items**2 / (clusters - 1)
    if stochastic and seeds > 1:
        spread += between**2 / (stochastic * (seeds - 1))
    degrees = max((clusters * seeds * variance) ** 2 / spread, 1.0) if spread > 0 else float(clusters - 1)
    quantiles = quantile(1 - (1 - CONFIDENCE) / 2 / comparisons, degrees) + quantile(MEASURABLE_POWER, degrees)
    few_seeds = 1.15 if stochastic and seeds < 5 else 1.0
    return few_seeds * quantiles * math.sqrt(variance)


def _check_shared(parts: Sequence[Scores], coefficients: Sequence[float]) -> None:
    if not parts or len(parts) != len(coefficients):
        raise ValueError(f"{len(parts)} methods and {len(coefficients)} coefficients")
    for part in parts[1:]:
        alike = part.weights is parts[0].weights or numpy.array_equal(part.weights, parts[0].weights)
        if part.totals.shape != parts[0].totals.shape or not alike:
            raise ValueError("the methods of a contrast must share seeds, clusters and weights")


def _deviations(totals: Array, weights: Array) -> Array:
    """u (S, C): the contribution of each cluster at each seed to the error of the mean; it sums to 0."""
    clusters, count = weights.size, weights.sum()
    average = totals.sum() / (totals.shape[0] * count)
    scaled: Array = (clusters / count) * (totals - weights * average)
    return scaled


def _item_mean_square(parts: Sequence[Scores], coefficients: Sequence[float], scale: Scale) -> float:
    """MS_I with its floor, the value of three discordant items."""
    totals: Array = numpy.zeros_like(parts[0].totals)
    for coefficient, part in zip(coefficients, parts, strict=True):
        totals = totals + coefficient * part.totals
    weights, seeds, clusters = parts[0].weights, parts[0].seeds, parts[0].clusters
    deviations = _deviations(totals, weights).mean(axis=0)
    observed = float(seeds * (deviations**2).sum() / (clusters - 1))
    floor = 3 * seeds * (clusters * scale.unit / float(weights.sum())) ** 2 / (clusters - 1)
    nothing = observed <= 1e-12 * floor
    return max(observed, floor) if scale.binary or nothing else observed


def _spreads(
    parts: Sequence[Scores], coefficients: Sequence[float], items: float, pool: SeedPool | None
) -> tuple[Spread, ...]:
    """The own half and, where a pool is given, the pooled half."""
    clusters, seeds = parts[0].clusters, parts[0].seeds
    if seeds == 1:
        return (Spread(math.sqrt(items / clusters), clusters - 1, items, 0.0, 0.0),)
    squares = [part.seed_mean_squares for part in parts]
    own = [k**2 * between for k, (between, _) in zip(coefficients, squares, strict=True)]
    interaction = sum(k**2 * rest for k, (_, rest) in zip(coefficients, squares, strict=True))
    between = sum(own)
    degrees = (seeds - 1) * between**2 / sum(m**2 for m in own) if between > 0 else 1.0
    halves = [_spread(items, between, degrees, interaction, clusters, seeds)]
    if pool is not None:
        halves.append(_spread(items, pool.ratio * interaction, pool.degrees, interaction, clusters, seeds))
    return tuple(halves)


def _spread(
    items: float, between: float, between_degrees: float, interaction: float, clusters: int, seeds: int
) -> Spread:
    variance = (items + max(between - interaction, 0.0)) / (clusters * seeds)
    degrees = float(clusters - 1)
    if between > interaction:
        uncertainty = items**2 / (clusters - 1) + between**2 / between_degrees
        uncertainty += interaction**2 / ((clusters - 1) * (seeds - 1))
        degrees = max((clusters * seeds * variance) ** 2 / uncertainty, 1.0)
    return Spread(math.sqrt(variance), degrees, items, between, interaction)


def _half_width(spread: Spread) -> float:
    return quantile(0.5 + CONFIDENCE / 2, spread.degrees) * spread.error


# scipy.special, not scipy.stats: importing the latter costs the command line half a second
def _upper_tail(t: float, degrees: float) -> float:
    from scipy.special import stdtr

    return float(stdtr(degrees, -t))


def quantile(probability: float, degrees: float) -> float:
    """The quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))
