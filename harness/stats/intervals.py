"""An estimate with its pointwise interval and p, from standard errors and degrees of freedom.

Formulas and sources: `harness.stats.contrasts`, which makes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.stats.cluster_totals import Array

CONFIDENCE = 0.95
FEWEST_CLUSTERS = 5  # effective; below it intervals and tests are blank
FLAGGED_CLUSTERS = 20  # effective; below it intervals are flagged: their coverage depends on the shape of the scores
ROUNDING = 1e-9  # relative; what two processors may compute differently


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
    """One half's result: the standard error sqrt(V), its degrees of freedom nu, and MS_I, W and E.

    seed_degrees  the degrees of freedom that the design gives W, added up over its parts; 0 where no seed matters
    """

    error: float
    degrees: float
    items: float
    seeds: float
    interaction: float
    seed_degrees: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """A contrast with its pointwise interval; `low`, `high` and `p` are None where `reason` says why.

    value       in the metric's units (None where not even the value can be computed)
    p           two-sided, against 0
    items_only  one seed: a statement about these trained runs, not about the methods
    stochastic  how many seed groups of the contrast vary with the seed
    effective   the effective number of clusters
    spreads     the own half and, where there is one, the pooled half
    limits      the smallest and the largest value that the metric allows for this contrast
    discordant  items that only the first and only the second of two methods solved, where McNemar's exact test applies
    of_items    (C,) a_c mean_s(u_sc), from which the correlation of two contrasts on the same items follows
    scale       "geometric", "ratio": value and interval are exp of logarithms, or exp - 1; `spreads` are of logarithms
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
    effective: float = 0.0
    spreads: tuple[Spread, ...] = ()
    limits: tuple[float, float] | None = None
    discordant: tuple[int, int] | None = None
    of_items: Array | None = field(default=None, repr=False, compare=False)
    scale: Literal["linear", "geometric", "ratio"] = "linear"

    def of_logarithms(self, scale: Literal["geometric", "ratio"]) -> Estimate:
        """This estimate of logarithms as a geometric mean, or as the relative change of one: 0.1 is 10 % more."""
        found = replace(self, scale=scale, limits=None)
        ends = [None if end is None else found._outside(end) for end in (self.value, self.low, self.high)]
        return replace(found, value=ends[0], low=ends[1], high=ends[2])

    def turned(self) -> Estimate:
        """The same difference the other way round: second less first."""
        ends = [None if end is None else self._outside(-self._inside(end)) for end in (self.value, self.high, self.low)]
        return replace(self, value=ends[0], low=ends[1], high=ends[2])

    def _inside(self, value: float) -> float:
        """A value on the scale of the spreads."""
        if self.scale == "linear":
            return value
        ratio = value if self.scale == "geometric" else 1 + value
        return math.log(ratio) if ratio > 0 else -math.inf

    def _outside(self, value: float) -> float:
        """A number on the scale of the spreads as a value."""
        if self.scale == "linear":
            return value
        value = min(value, 700.0)  # exp of more is not a float
        return math.exp(value) if self.scale == "geometric" else math.expm1(value)

    @property
    def few_clusters(self) -> bool:
        """Fewer effective clusters than FLAGGED_CLUSTERS; the interval is shown and flagged."""
        return self.low is not None and self.effective < FLAGGED_CLUSTERS - ROUNDING

    @property
    def thin_seeds(self) -> bool:
        """Whether seed variance rests on two degrees of freedom at most: three seeds and nothing to pool with."""
        return bool(self.stochastic) and all(spread.seed_degrees <= 2 for spread in self.spreads)

    @property
    def skewed(self) -> bool:
        """Whether the clusters are too skewed for an interval from t: fewer than 25 skewness^2 of them.

        Source: Cochran, Sampling Techniques, 3rd edition, 1977, section 2.15.
        """
        if self.of_items is None or self.low is None:
            return False
        spread = float((self.of_items**2).mean())
        return spread > 0 and self.clusters < 25 * (float((self.of_items**3).mean()) / spread**1.5) ** 2

    def interval(self, level: float = 1 - CONFIDENCE) -> tuple[float, float] | None:
        """The interval that misses the truth with probability `level`, the wider of the halves; None where blank."""
        if self.value is None or not self.spreads:
            return None
        width = max(quantile(1 - level / 2, spread.degrees) * spread.error for spread in self.spreads)
        middle = self._inside(self.value)
        low, high = self._outside(middle - width), self._outside(middle + width)
        if self.discordant is not None and any(self.discordant):
            exact = _exact_interval(*self.discordant, self.clusters, level)
            low, high = min(low, exact[0]), max(high, exact[1])
        if self.limits is not None:
            low, high = max(low, self.limits[0]), min(high, self.limits[1])
        return low, high

    @property
    def widest(self) -> Spread:
        """The half that has the wider interval; raises ValueError without any."""
        return max(self.spreads, key=lambda spread: quantile(0.5 + CONFIDENCE / 2, spread.degrees) * spread.error)

    @property
    def components(self) -> Components | None:
        """Variance components of the half that was reported; None without an interval, and of a sum of contrasts."""
        if not self.spreads:
            return None
        spread = self.widest
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
        above = self._inside(self.value) - self._inside(bound)
        return max(_upper_tail(above / spread.error, spread.degrees) for spread in self.spreads)


def with_interval(blank: Estimate) -> Estimate:
    """The reported estimate: the wider interval and the larger p of the halves and of the exact test, if it applies."""
    limits = blank.interval()
    if limits is None or blank.value is None:
        return blank
    p = 1.0 if blank.value == 0 else max(2 * _upper_tail(abs(blank.value) / s.error, s.degrees) for s in blank.spreads)
    if blank.discordant is not None:
        p = max(p, _exact_p(*blank.discordant))
    return replace(blank, low=limits[0], high=limits[1], p=min(p, 1.0))


def _exact_p(won: int, lost: int) -> float:
    """McNemar's exact test: two-sided binomial of `won` among the discordant items at 1/2 (Psychometrika 12, 1947)."""
    from scipy.special import bdtr

    if won + lost == 0:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(won, lost), won + lost, 0.5)))


def _exact_interval(won: int, lost: int, items: int, level: float) -> tuple[float, float]:
    """The difference's interval given the number of discordant items: Clopper and Pearson's for the share won."""
    from scipy.special import betaincinv

    count = won + lost
    low = float(betaincinv(won, lost + 1, level / 2)) if won else 0.0
    high = float(betaincinv(won + 1, lost, 1 - level / 2)) if lost else 1.0
    return (2 * low - 1) * count / items, (2 * high - 1) * count / items


# scipy.special, not scipy.stats: importing the latter costs the command line half a second
def _upper_tail(t: float, degrees: float) -> float:
    from scipy.special import stdtr

    return float(stdtr(degrees, -t))


def quantile(probability: float, degrees: float) -> float:
    """The quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))
